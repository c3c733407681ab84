// All trained parameters of a network in one flat buffer, and their gradients in another: one fused update, one norm,
// one average; and one all-reduce when there are several devices.
//
// Making a FlatParameters moves the parameters that require a gradient into the buffer (their tensors become views of
// it), so freeze first. Weight decay applies to matrices (rank 2 and above) only, as is usual for norms and biases.
#pragma once

#include <mindgap/kernels/optimizer.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <functional>

namespace mindgap {

template <Device D>
class FlatParameters {
 public:
  struct Segment {
    std::string name;
    i64 offset, size;
    bool matrix;
    StateItem (*item)(const Segment&, const std::string& name, const Tensor<float, 1, D>& flat);
    std::vector<i64> extents;  // ours
    Layout layout;
    std::function<bool()> written;
    std::function<void()> forget, refresh;
  };

  template <Module M>
  explicit FlatParameters(M& net, float weight_decay = 0.f) {
    for_each_parameter(net, [&]<int N, class P>(const std::string& name, Parameter<N, D, P>& p) {
      p.slot = nullptr;
      if (p.requires_grad) {
        segments_.push_back({name,
                             size_,
                             p.shape().size(),
                             N > 1,
                             &item_of<N>,
                             {p.shape().extents.begin(), p.shape().extents.end()},
                             p.layout,
                             [&p] { return p.slot->written(); },
                             [&p] { p.slot->forget(); },
                             [&p] { p.refresh(); }});
        size_ += (p.shape().size() + optimizer_group - 1) / optimizer_group * optimizer_group;
      }
    });
    if (segments_.empty())
      throw Error("nothing to train: every parameter is frozen", {{"remedy", "unfreeze at least one layer"}});
    values_ = make();
    gradients_ = make();
    size_t next = 0;
    for_each_parameter(net, [&]<int N, class P>(const std::string&, Parameter<N, D, P>& p) {
      if (!p.requires_grad) return;
      const Segment& s = segments_[next++];
      const auto view = [&](const Tensor<float, 1, D>& flat) {
        return flat.slice(s.offset, s.offset + s.size).reshape(p.shape());
      };
      const auto place = view(values_);
      place.copy_from(p.master);
      p.bind(place);
      p.slot = std::make_shared<typename Parameter<N, D, P>::Slot>(view(gradients_));
    });
    std::vector<float> rate(size_t(size_ / optimizer_group), 1.f), decay(rate.size(), 0.f);
    for (const Segment& s : segments_)
      if (s.matrix)
        std::fill_n(decay.begin() + s.offset / optimizer_group, (s.size + optimizer_group - 1) / optimizer_group, weight_decay);
    rate_ = Tensor<float, 1, D>::from(rate, Shape<1>(i64(rate.size())));
    decay_ = Tensor<float, 1, D>::from(decay, Shape<1>(i64(decay.size())));
  }

  i64 size() const { return size_; }
  const Tensor<float, 1, D>& values() const { return values_; }
  const Tensor<float, 1, D>& gradients() const { return gradients_; }
  const std::vector<Segment>& segments() const { return segments_; }
  FlatGroups groups() const { return {rate_.data(), decay_.data(), size_ / optimizer_group}; }
  Grid grid() const {
    const i64 chunk = optimizer_group * optimizer_groups_per_block;
    return {(size_ + chunk - 1) / chunk, 64};
  }
  // A zeroed buffer of the same division, for an optimizer's state.
  Tensor<float, 1, D> make() const { return Tensor<float, 1, D>::zeros(Shape<1>(size_)); }

  // Multiplies the learning rate of the parameters that the pattern matches (layer-wise rates).
  void set_rate(const std::string& pattern, float factor) {
    std::vector<float> rate = rate_.to_vector();
    bool any = false;
    for (const Segment& s : segments_)
      if (matches(pattern, s.name)) {
        std::fill_n(rate.begin() + s.offset / optimizer_group, (s.size + optimizer_group - 1) / optimizer_group, factor);
        any = true;
      }
    if (!any) throw Error("no trained parameter matches '" + pattern + "'");
    rate_ = Tensor<float, 1, D>::from(rate, rate_.shape());
  }

  // Before a step: gradients that no backward wrote are zero. After it: working copies follow, gradients start afresh.
  void begin_step() {
    for (const Segment& s : segments_)
      if (!s.written()) Runtime<D>::zero(gradients_.data() + s.offset, s.size * i64(sizeof(float)));
  }
  void end_step() {
    for (const Segment& s : segments_) {
      s.refresh();
      s.forget();
    }
  }

  // The entries of a flat buffer under the parameters' names, for a state dict.
  std::vector<StateItem> items(const Tensor<float, 1, D>& flat, const std::string& prefix) const {
    std::vector<StateItem> out;
    for (const Segment& s : segments_) out.push_back(s.item(s, prefix + s.name, flat));
    return out;
  }

 private:
  template <int N>
  static StateItem item_of(const Segment& s, const std::string& name, const Tensor<float, 1, D>& flat) {
    Shape<N> shape;
    for (int i = 0; i < N; ++i) shape[i] = s.extents[size_t(i)];
    return state_item(name, flat.slice(s.offset, s.offset + s.size).reshape(shape), s.layout);
  }

  std::vector<Segment> segments_;
  i64 size_ = 0;
  Tensor<float, 1, D> values_, gradients_, rate_, decay_;
};

// Scales all gradients so that their joint L2 norm is at most `limit` (torch.nn.utils.clip_grad_norm_). Returns the norm before.
template <Device D>
float clip_gradients(FlatParameters<D>& parameters, float limit) {
  parameters.begin_step();
  const Grid grid = parameters.grid();
  Tensor<float, 1, D> partial{Shape<1>(grid.blocks)};
  Runtime<D>::launch(grid, SquareSums{partial.data(), parameters.gradients().data(), parameters.size()});
  double square = 0;
  for (float part : partial.to_vector()) square += double(part);
  const float norm = float(std::sqrt(square));
  if (norm > limit) {
    constexpr auto scale = [](auto g, auto factor) { return g * factor; };
    pointwise_into(parameters.gradients(), scale, parameters.gradients(), value(limit / (norm + 1e-6f)));
  }
  return norm;
}

}  // namespace mindgap
