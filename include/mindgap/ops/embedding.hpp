// Embeddings: rows of a table by id, and timesteps as sines and cosines.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/embedding.hpp>
#include <mindgap/ops/operands.hpp>

#include <cmath>

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

// Of ids that are none.
template <class Ids, class W, class... Rest>
requires(detail::is_operand<Ids>&& detail::is_operand<W> &&
         (detail::rank_of<W>() != 2 ||
          !std::is_same_v<Ids, Tensor<i64, 1, typename W::device>>)) auto embedding(const Ids&, const W& table, const Rest&...) {
  static_assert(!detail::is_operand<W>, "mindgap: embedding wants ids, an i64 tensor [N], and a table [R, C]; on one device");
  return table;
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
// `dim` even -> [N, dim], cosines first if `flip_sin_to_cos`; freq_shift, below dim / 2, moves the lowest frequency.
template <Real T, Device D>
Tensor<T, 2, D> timestep_embedding(const Tensor<float, 1, D>& timesteps, i64 dim, bool flip_sin_to_cos, double freq_shift,
                                   Location at = Location::current()) {
  const Caller caller(at);
  if (dim < 2 || dim % 2) throw Error(text("timestep embedding: ", dim, " channels, wanted an even number"));
  if (!(std::abs(freq_shift) < double(dim / 2)))
    throw Error(text("timestep embedding: freq_shift ", freq_shift, " leaves no frequencies of ", dim, " channels"),
                {{"remedy", text("use less than ", dim / 2, "; 0 and 1 are usual")}});
  const Op<D> op("timestep embedding");
  Tensor<T, 2, D> y({timesteps.size(), dim});
  op.moves(timesteps, y);
  Runtime<D>::launch(Grid{timesteps.size(), 64},
                     kernel::TimestepEmbedding<T>{y.data(), timesteps.data(), dim, flip_sin_to_cos, float(freq_shift)});
  return y;
}

}  // namespace mindgap
