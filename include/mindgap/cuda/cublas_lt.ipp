// Bodies of cublas_lt.hpp: the only file that includes cuBLASLt. Its columns are our rows, as cublas.ipp says: C^T = B^T A^T,
// and a bias for each row of C^T.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/cublas.hpp>
#include <mindgap/cuda/cublas_lt.hpp>
#include <mindgap/cuda/data_type.hpp>
#include <mindgap/cuda/timing.hpp>

#include <cstdint>
#include <cublasLt.h>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace mindgap::cuda {
namespace detail {

struct ProductKey {
  MatmulGeometry g;
  DType type, c_type;
  bool tf32;
  bool addend, bias, relu;  // of the epilogue

  auto operator<=>(const ProductKey&) const = default;

  std::string str() const {
    return text("product", addend ? " sum" : "", bias ? " bias" : "", relu ? " relu" : "", " ", name(type),
                tf32 ? " tf32" : " full", c_type == type ? " " : " to f32 ", g.m, " ", g.n, " ", g.k, g.trans_a ? " t " : " n ",
                g.trans_b ? "t " : "n ", g.a.row, " ", g.b.row, " ", g.c.row);
  }
};

struct LtFailure : LibraryFailure {
  explicit LtFailure(cublasStatus_t s) : status(s) {}
  cublasStatus_t status;
};
inline void check(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw LtFailure(status);
}

struct DestroyLt {
  void operator()(cublasLtMatmulDescOpaque_t* p) const { cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayoutOpaque_t* p) const { cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreferenceOpaque_t* p) const { cublasLtMatmulPreferenceDestroy(p); }
};
template <class Opaque>
using Lt = std::unique_ptr<Opaque, DestroyLt>;

// What cuBLASLt is asked for: the operation and where its operands lie.
struct LtProduct {
  Lt<cublasLtMatmulDescOpaque_t> how;
  Lt<cublasLtMatrixLayoutOpaque_t> a, b, c;

  explicit LtProduct(const ProductKey& key) {
    const MatmulGeometry& g = key.g;
    cublasLtMatmulDesc_t made = nullptr;
    check(cublasLtMatmulDescCreate(&made, key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    how.reset(made);
    const cublasOperation_t first = g.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, second = g.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, first);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, key.bias && key.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                                       : key.bias           ? CUBLASLT_EPILOGUE_BIAS
                                       : key.relu           ? CUBLASLT_EPILOGUE_RELU
                                                            : CUBLASLT_EPILOGUE_DEFAULT);
    if (key.bias) set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(key.c_type));
    const auto layout = [&](DType type, i64 rows, i64 cols, i64 row) {
      cublasLtMatrixLayout_t l = nullptr;
      check(cublasLtMatrixLayoutCreate(&l, data_type(type), u64(cols), u64(rows), row));
      return Lt<cublasLtMatrixLayoutOpaque_t>(l);
    };
    a = g.trans_a ? layout(key.type, g.k, g.m, g.a.row) : layout(key.type, g.m, g.k, g.a.row);
    b = g.trans_b ? layout(key.type, g.n, g.k, g.b.row) : layout(key.type, g.k, g.n, g.b.row);
    c = layout(key.c_type, g.m, g.n, g.c.row);
  }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    check(cublasLtMatmulDescSetAttribute(how.get(), attribute, &value, sizeof value));
  }
};

struct ProductPointers {
  void* c;
  const void *a, *b;
  MatmulEpilogue epilogue;
};

struct ProductPlan {
  LtProduct product;
  cublasLtMatmulAlgo_t algorithm;
  i64 workspace_bytes;
  int place;  // in cuBLASLt's list

  void run(cublasLtHandle_t handle, Stream stream, void* workspace, const ProductPointers& at) const {
    const auto [addend, bias, relu] = at.epilogue;
    const float one = 1.f, weight = addend ? 1.f : 0.f;
    if (bias) product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    check(cublasLtMatmul(handle, product.how.get(), &one, at.b, product.b.get(), at.a, product.a.get(), &weight,
                         addend ? addend : at.c, product.c.get(), at.c, product.c.get(), &algorithm, workspace,
                         size_t(workspace_bytes), stream));
  }
};

// The algorithms that cuBLASLt proposes, the one it thinks best first.
inline std::vector<cublasLtMatmulHeuristicResult_t> proposals(cublasLtHandle_t handle, const LtProduct& product) {
  cublasLtMatmulPreference_t made = nullptr;
  check(cublasLtMatmulPreferenceCreate(&made));
  const Lt<cublasLtMatmulPreferenceOpaque_t> preference(made);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value));
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, u64(32) << 20);
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, u32(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    set(attribute, u32(16));
  std::vector<cublasLtMatmulHeuristicResult_t> out(16);
  int count = 0;
  check(cublasLtMatmulAlgoGetHeuristic(handle, product.how.get(), product.b.get(), product.a.get(), product.c.get(),
                                       product.c.get(), preference.get(), int(out.size()), out.data(), &count));
  out.resize(size_t(count));
  return out;
}

inline cublasLtHandle_t cublas_lt(Stream stream) {
  static const cublasLtHandle_t created = [&] {
    refuse_while_capturing(stream, "cuBLASLt cannot be started");
    cublasLtHandle_t h = nullptr;
    if (cublasLtCreate(&h) != CUBLAS_STATUS_SUCCESS)
      throw DeviceError("cuda: cuBLASLt did not start",
                        {{"remedy", "is the GPU's memory taken? is there a driver for CUDA 13?"}});
    return h;
  }();
  return created;
}

// The plan of a key: kept, named by the cache, or the fastest; null where there is none.
inline ProductPlan* product_plan(cublasLtHandle_t handle, Stream stream, const ProductKey& key, const ProductPointers& at) {
  static std::map<ProductKey, std::unique_ptr<ProductPlan>> made;
  if (auto found = made.find(key); found != made.end()) return found->second.get();
  refuse_while_capturing(stream, "no plan can be made for " + key.str());
  std::unique_ptr<ProductPlan> best;
  try {
    const LtProduct asked(key);
    if (key.bias) asked.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, at.epilogue.bias);
    const auto proposed = proposals(handle, asked);
    const auto plan_at = [&](int place) {
      const auto& p = proposed[size_t(place)];
      return std::make_unique<ProductPlan>(ProductPlan{LtProduct(key), p.algo, i64(p.workspaceSize), place});
    };
    const int known = known_place(key.str()).value_or(-1);
    if (known >= 0 && known < int(proposed.size())) {
      best = plan_at(known);
    } else {
      TimingMemory memory;
      float least = std::numeric_limits<float>::infinity();
      for (int place = 0; place < int(proposed.size()); ++place) {
        auto candidate = plan_at(place);
        if (!memory.grow(candidate->workspace_bytes)) continue;
        const float ms = least_time(
            stream, [&] { candidate->run(handle, stream, memory.get(), at); }, least);
        if (ms < least) least = ms, best = std::move(candidate);
      }
      if (best) keep_place(key.str(), best->place, memory.complete());
    }
  } catch (const LtFailure&) {  // cuBLASLt knows no such product
  }
  return (made[key] = std::move(best)).get();
}

}  // namespace detail

MINDGAP_INLINE bool matmul_with_epilogue(Stream stream, Scratch scratch, const MatmulGeometry& g, DType c_type, void* c,
                                         DType type, const void* a, const void* b, const MatmulEpilogue& epilogue) {
  using namespace detail;
  static std::mutex mutex;
  for (const void* p : {static_cast<const void*>(c), a, b, epilogue.bias, epilogue.addend})
    if (reinterpret_cast<std::uintptr_t>(p) % 16) return false;
  if (g.batch() != 1) return false;
  const ProductKey key{
      g, type, c_type, type == DType::f32 && allow_tf32(), epilogue.addend != nullptr, epilogue.bias != nullptr, epilogue.relu};
  const ProductPointers at{c, a, b, epilogue};
  std::lock_guard lock(mutex);
  const cublasLtHandle_t handle = cublas_lt(stream);
  const ProductPlan* plan = product_plan(handle, stream, key, at);
  if (!plan) return false;
  note_use(key.str());  // at every call, since uses may be counted afresh at any time
  try {
    plan->run(handle, stream, scratch(plan->workspace_bytes), at);
  } catch (const LtFailure& failure) {
    throw DeviceError(
        "cuda: cuBLASLt could not run its plan",
        {{"call", key.str()},
         {"cublas", cublasLtGetStatusString(failure.status)},
         {"remedy", "run with CUDA_LAUNCH_BLOCKING=1: has a kernel failed before? else delete the autotune cache"}});
  }
  return true;
}

}  // namespace mindgap::cuda
