// Embeddings: rows of a table by id, and timesteps as sines and cosines.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/embedding.hpp>

namespace mindgap {

// ids [N], table [R, C] -> [N, C]. An id outside the table is an error on the CPU; on a GPU, whose ids the host does not read,
// its row is NaN.
template <Real T, Device D>
Tensor<T, 2, D> embedding(const Tensor<i64, 1, D>& ids, const Tensor<T, 2, D>& table, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("embedding");
  if constexpr (std::same_as<D, Cpu>)
    for (i64 i = 0; i < ids.size(); ++i)
      if (const i64 id = ids.data()[i]; id < 0 || id >= table.extent(0))
        throw Error(text("embedding: id ", id, " is outside the table"), {{"table", table.str()}});
  Tensor<T, 2, D> y({ids.size(), table.extent(1)});
  op.moves(ids, y);
  Runtime<D>::launch(Grid{ids.size(), 128},
                     kernel::EmbeddingRows<T>{y.data(), table.data(), ids.data(), table.extent(0), table.extent(1)});
  return y;
}

// Overwrites grad_table [R, C], f32.
template <Real T, Device D>
void embedding_backward(const Tensor<float, 2, D>& grad_table, const Tensor<i64, 1, D>& ids, const Tensor<T, 2, D>& grad_y) {
  written(grad_table);
  const Op<D> op("embedding backward");
  op.moves(grad_table, grad_y);
  Runtime<D>::launch(Grid{grad_table.extent(0), 128},
                     kernel::EmbeddingBackward<T>{grad_table.data(), grad_y.data(), ids.data(), ids.size(), grad_y.extent(1)});
}

// Sinusoidal embedding of timesteps (Vaswani et al. 2017, section 3.5), as diffusers' get_timestep_embedding: timesteps [N],
// `dim` even -> [N, dim], cosines first if `flip_sin_to_cos`; freq_shift moves the lowest frequency.
template <Real T, Device D>
Tensor<T, 2, D> timestep_embedding(const Tensor<float, 1, D>& timesteps, i64 dim, bool flip_sin_to_cos, double freq_shift,
                                   Location at = Location::current()) {
  const Caller caller(at);
  if (dim < 2 || dim % 2) throw Error(text("timestep embedding: ", dim, " channels, wanted an even number"));
  const Op<D> op("timestep embedding");
  Tensor<T, 2, D> y({timesteps.size(), dim});
  op.moves(timesteps, y);
  Runtime<D>::launch(Grid{timesteps.size(), 64},
                     kernel::TimestepEmbedding<T>{y.data(), timesteps.data(), dim, flip_sin_to_cos, float(freq_shift)});
  return y;
}

}  // namespace mindgap
