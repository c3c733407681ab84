// A labelled synthetic data set made by a generator, as a shard folder.
//
//   const auto manifest = synthetic_manifest(generator, sampler, steps, per_class, guidance, seed, "f32");
//   ShardWriter writer(folder, manifest, part, parts);
//   write_synthetic_set(generator, sampler, writer, batch, progress);
//
// Image k of a class is the same whatever the batch, the part, the order or the number of images asked for.
#pragma once

#include <mindgap/data/shards.hpp>
#include <mindgap/diffusion/generator.hpp>

namespace mindgap {

template <Device D, class P>
ShardManifest synthetic_manifest(const Generator<D, P>& generator, const Sampler& sampler, i64 steps, i64 per_class,
                                 double guidance, u64 seed, const std::string& precision) {
  ShardManifest out;
  out.class_names = generator.info.class_names;
  out.images_per_class = per_class;
  out.height = generator.image()[0], out.width = generator.image()[1], out.channels = generator.image()[2];
  out.generator = generator.hash;
  out.sampler = sampler.describe();
  out.steps = steps;
  out.guidance = guidance;
  out.seed = seed;
  out.precision = precision;
  return out;
}

// Writes the writer's pending chunks, `batch` images at a time. After each batch progress(images of this part that are done)
// says whether to go on. Returns whether all is written.
template <Device D, class P, class F>
bool write_synthetic_set(const Generator<D, P>& generator, const Sampler& sampler, const ShardWriter& writer, i64 batch,
                         F&& progress) {
  const ShardManifest& m = writer.manifest();
  i64 done = writer.part_images() - writer.pending_images();
  for (const PendingChunk& chunk : writer.pending()) {
    const Tensor<u8, 4, Cpu> images(Shape<4>(chunk.end - chunk.begin, m.height, m.width, m.channels));
    for (i64 begin = chunk.begin; begin < chunk.end; begin += batch) {
      const i64 end = std::min(begin + batch, chunk.end);
      SampleRequest request;
      for (i64 position = begin; position < end; ++position) {
        request.labels.push_back(m.label(position));
        request.indices.push_back(m.index(position));
      }
      request.seed = m.seed;
      request.guidance = m.guidance;
      request.image = generator.image();
      request.null_class = generator.classes();
      images.slice(begin - chunk.begin, end - chunk.begin).copy_from(generate(*generator.unet, sampler, request, batch));
      const bool last = end == chunk.end;
      if (last) writer.write(chunk, images);
      if (!progress(done += end - begin)) return false;
    }
  }
  return true;
}

}  // namespace mindgap
