// The layers, with torch.nn's names, members and default initialisation.
//
// A layer is called with a Tensor or a Var: one body serves the sampler and the student. Each knows its dotted name
// (`path`) so that errors say where they come from, and how to initialise itself from (seed, name). Before that, or before it is
// loaded, only a norm has values. A call takes its own line as its last argument, for the error (core/error.hpp), but for a batch
// norm's with an epilogue.
#pragma once

#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/layer_norm.hpp>
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/norm.hpp>
#include <mindgap/core/replay.hpp>
#include <mindgap/nn/init.hpp>
#include <mindgap/nn/module.hpp>

namespace mindgap {

// x [N, H, W, in] -> [N, OH, OW, out]
template <Device D, class P>
struct Conv2d {
  enum class Init { fan_in_uniform, kaiming_normal_fan_out };

  Parameter<4, D, P> weight;  // [out, kernel, kernel, in]
  Parameter<1, D, P> bias;    // [out], or undefined
  ConvOptions options;
  Init initial = Init::fan_in_uniform;
  std::string path;
  MINDGAP_MODULE(weight, bias)

  Conv2d() = default;
  Conv2d(i64 in, i64 out, i64 kernel, ConvOptions o = {}, bool with_bias = true, Location at = Location::current())
      : weight(Shape<4>(out, kernel, kernel, in), at), options(o) {
    if (with_bias) bias = Parameter<1, D, P>(Shape<1>(out), at);
  }

  template <class X>
  auto operator()(const X& x, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return conv2d(x, weight.as(x), bias.as(x), options);
  }

  // For a norm that follows: y without the bias, and its moments (ops/conv_moments.hpp).
  template <class X>
  auto with_moments(const X& x, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return conv2d_with_moments(x, weight.as(x), options);
  }

  void reset(u64 seed, const std::string& name) {
    const Shape<4>& s = weight.shape();
    if (initial == Init::kaiming_normal_fan_out)
      init::normal(weight, init::kaiming_std(s[0] * s[1] * s[2]), seed, name + ".weight");
    else init::uniform(weight, init::default_bound(s[1] * s[2] * s[3]), seed, name + ".weight");
    if (bias.defined()) init::uniform(bias, init::default_bound(s[1] * s[2] * s[3]), seed, name + ".bias");
  }
};

// x [..., in] -> [..., out]
template <Device D, class P>
struct Linear {
  Parameter<2, D, P> weight;  // [out, in]
  Parameter<1, D, P> bias;    // [out], or undefined
  std::string path;
  MINDGAP_MODULE(weight, bias)

  Linear() = default;
  Linear(i64 in, i64 out, bool with_bias = true, Location at = Location::current()) : weight(Shape<2>(out, in), at) {
    if (with_bias) bias = Parameter<1, D, P>(Shape<1>(out), at);
  }

  template <class X>
  auto operator()(const X& x, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return linear(x, weight.as(x), bias.as(x));
  }

  void reset(u64 seed, const std::string& name) {
    const float bound = init::default_bound(weight.shape()[1]);
    init::uniform(weight, bound, seed, name + ".weight");
    if (bias.defined()) init::uniform(bias, bound, seed, name + ".bias");
  }
};

// Batch norm over all rows, with an optional epilogue: bn(x), bn(x, relu_add, residual). bn.after(conv, x, ...) is bn(conv(x),
// ...).
//
// While `training` and not `frozen_statistics` it normalises by the batch and moves the running averages, as torch's
// train(); otherwise it normalises by the averages and leaves them alone. Several sets of statistics (one a domain) share
// gamma and beta: `use_statistics(k)` chooses; set 0 has the published names, the others ride along as statistics.<k>.
template <Device D, class P>
struct BatchNorm2d {
  struct Statistics {
    Buffer<1, D> running_mean, running_var;
    Counter num_batches_tracked;
    MINDGAP_MODULE(running_mean, running_var, num_batches_tracked)

    Statistics() = default;
    explicit Statistics(i64 channels)
        : running_mean(Tensor<float, 1, D>::zeros(Shape<1>(channels))),
          running_var(Tensor<float, 1, D>::full(Shape<1>(channels), 1.f)) {}
  };

  Parameter<1, D, P> weight, bias;  // gamma and beta, [C]
  std::vector<Statistics> sets;     // at least one
  size_t active = 0;
  float eps = 1e-5f, momentum = 0.1f;
  bool training = true, frozen_statistics = false;
  // Instead of the usual momentum: the plain average over all batches since reset_statistics() (torch's momentum=None). Not in a
  // step that is replayed: the momentum of its first run would stay.
  bool cumulative = false;
  std::string path;

  template <class F>
  void visit(F&& f) {
    f("weight", weight);
    f("bias", bias);
    if (sets.empty()) return;
    sets[0].visit(f);
    for (size_t k = 1; k < sets.size(); ++k) f("statistics." + std::to_string(k), sets[k]);
  }

  BatchNorm2d() = default;
  explicit BatchNorm2d(i64 channels, Location at = Location::current())
      : weight(Shape<1>(channels), at), bias(Shape<1>(channels), at), sets{Statistics(channels)} {
    init::constant(weight, 1.f);
    init::constant(bias, 0.f);
  }

  // Chooses set k and makes it, from the first set's values, if it does not exist yet.
  void use_statistics(size_t k) {
    while (sets.size() <= k) {
      Statistics copy = statistics(0);
      copy.running_mean.value = copy.running_mean.value.clone();
      copy.running_var.value = copy.running_var.value.clone();
      sets.push_back(copy);
    }
    active = k;
  }
  void reset_statistics() { statistics(active) = Statistics(weight.shape().size()); }

  template <class X>
  X operator()(const X& x, Location at = Location::current()) {
    const Caller caller(at);
    return normalised(x, {}, epilogues::identity);
  }
  template <class X, class F, class... Extras>
  X operator()(const X& x, F epilogue, const Extras&... extras) {
    return normalised(x, {}, epilogue, extras...);
  }

  // Of a convolution; the kernel that writes it gathers the batch's statistics, where the device gains by it.
  template <class X, class F = std::remove_const_t<decltype(epilogues::identity)>, class... Extras>
  X after(const Conv2d<D, P>& conv, const X& x, F epilogue = {}, const Extras&... extras) {
    if (!from_batch() || conv.bias.defined()) return normalised(conv(x), {}, epilogue, extras...);
    const auto [y, moments] = conv.with_moments(x);
    return normalised(y, moments, epilogue, extras...);
  }

  void reset(u64, const std::string&) {
    init::constant(weight, 1.f);
    init::constant(bias, 0.f);
    if (!sets.empty()) reset_statistics();
  }

 private:
  bool from_batch() const { return training && !frozen_statistics; }
  // The active ones. A layer that was made without channels has none.
  Statistics& statistics(size_t set) {
    if (set >= sets.size())
      throw Error(text("batch norm: there is no set ", set, " of statistics, of ", sets.size()),
                  {{"remedy", "make the layer with its channels, and choose a set by use_statistics()"}});
    return sets[set];
  }

  // moments: of x, or undefined.
  template <class X, class F, class... Extras>
  X normalised(const X& x, const ColumnMoments<D>& moments, F epilogue, const Extras&... extras) {
    static_assert(
        (std::is_same_v<Extras, X> && ... && true),
        "mindgap: batch norm: what its epilogue takes besides is of the type of x: element, rank, device, and a variable or not");
    const ModulePath in(path);
    Statistics& s = statistics(active);
    BatchNormStatistics<D> n;
    if (from_batch()) {
      each_run([this, set = active] { ++sets[set].num_batches_tracked.value; });
      const float step = cumulative ? 1.f / float(s.num_batches_tracked.value) : momentum;
      n = batch_statistics(value_of(x), eps, RunningAverages<D>{s.running_mean.value, s.running_var.value, step}, moments);
    } else {
      n = {s.running_mean.value, running_rstd(s.running_var.value, eps)};
    }
    if constexpr (is_tensor<X>) return batch_norm(epilogue, x, n.mean, n.rstd, weight.value, bias.value, extras...);
    else return batch_norm(epilogue, x, n.mean, n.rstd, from_batch(), weight.as(x), bias.as(x), extras...);
  }
};

// Group norm with an epilogue. gn(x, epilogue), or of two tensors side by side, and with a row [N, C] added first.
template <Device D, class P>
struct GroupNorm2d {
  Parameter<1, D, P> weight, bias;  // gamma and beta, [C]
  i64 groups = 1;
  float eps = 1e-5f;
  std::string path;
  MINDGAP_MODULE(weight, bias)

  GroupNorm2d() = default;
  GroupNorm2d(i64 n, i64 channels, float e, Location at = Location::current())
      : weight(Shape<1>(channels), at), bias(Shape<1>(channels), at), groups(n), eps(e) {
    reset(0, "");
  }

  // skip and row may be default-made: absent.
  template <class X, class F, class R>
  X operator()(F epilogue, const X& x, const X& skip, const R& row, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return group_norm(epilogue, x, skip, row, groups, eps, weight.as(x), bias.as(x));
  }

  void reset(u64, const std::string&) {
    init::constant(weight, 1.f);
    init::constant(bias, 0.f);
  }
};

// x [..., C], each row normalised by itself (Ba et al. 2016, arXiv 1607.06450).
template <Device D, class P>
struct LayerNorm {
  Parameter<1, D, P> weight, bias;  // gamma and beta, [C]
  float eps = 1e-5f;
  std::string path;
  MINDGAP_MODULE(weight, bias)

  LayerNorm() = default;
  explicit LayerNorm(i64 channels, float e = 1e-5f, Location at = Location::current())
      : weight(Shape<1>(channels), at), bias(Shape<1>(channels), at), eps(e) {
    reset(0, "");
  }

  template <class X>
  X operator()(const X& x, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    if constexpr (is_tensor<X>) return layer_norm(x, weight.value, bias.value, eps).y;
    else return layer_norm(x, weight.as(x), bias.as(x), eps);
  }

  void reset(u64, const std::string&) {
    init::constant(weight, 1.f);
    init::constant(bias, 0.f);
  }
};

// Rows of a table: ids [N] -> [N, dim]
template <Device D, class P>
struct Embedding {
  Parameter<2, D, P> weight;  // [rows, dim]
  std::string path;
  MINDGAP_MODULE(weight)

  Embedding() = default;
  Embedding(i64 rows, i64 dim, Location at = Location::current()) : weight(Shape<2>(rows, dim), at) {}

  // x only says whether a tensor or a variable is wanted, and on which tape.
  template <class X>
  auto operator()(const Tensor<i64, 1, D>& ids, const X& x, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return embedding(ids, weight.as(x));
  }

  void reset(u64 seed, const std::string& name) { init::normal(weight, 1.f, seed, name + ".weight"); }
};

}  // namespace mindgap
