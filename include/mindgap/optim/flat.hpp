// All trained parameters of a network in one flat buffer, their gradients in another and, in bf16 and f16, the working copies of
// matrices in a third: one fused update, one norm, one average; and one all-reduce when there are several devices.
//
// Making a FlatParameters moves the parameters that require a gradient into the buffers (their tensors become views of
// them). It may outlive the network. Weight decay applies to matrices (rank 2 and above) only, as is usual for norms and biases.
//
// A parameter of it that is frozen later stays as it is from the next step on, with its momentum and its average; it has no
// share in the gradients' norm. Unfrozen, it goes on from there. One that was frozen before is in no buffer: to unfreeze it is an
// error at the next step.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/kernels/bias.hpp>
#include <mindgap/kernels/optimizer.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <cmath>
#include <functional>
#include <tuple>

namespace mindgap {

namespace detail {

// Throws for a number of training that is NaN, larger than any float, or otherwise not `good`.
inline void check_number(const char* what, double number, bool good, const char* remedy) {
  if (!good || !std::isfinite(float(number))) throw Error(text(what, " of ", number), {{"remedy", remedy}});
}
inline void check_learning_rate(double rate) { check_number("a learning rate", rate, rate >= 0, "a finite number, 0 or more"); }
inline void check_weight_decay(double decay) { check_number("a weight decay", decay, decay >= 0, "a finite number, 0 or more"); }

// Gradients that lie in 16-bit types, to be converted by one launch.
template <Device D>
class NarrowGradients {
 public:
  template <Real T, int N>
  void add(const Tensor<float, N, D>& to, const Tensor<T, N, D>& from) {
    auto& all = std::get<kernel::ConvertAll<float, T>>(all_);
    if (all.count == all.most) launch(all);
    all.add({to.data(), from.data(), from.size()});
    held_.push_back(from.template as<u8>());
  }
  void convert() {
    std::apply([](auto&... all) { (launch(all), ...); }, all_);
    held_.clear();
  }

 private:
  template <class Kernel>
  static void launch(Kernel& all) {
    Runtime<D>::launch(Grid{all.blocks()}, all);
    all.count = 0;
  }

  std::tuple<kernel::ConvertAll<float, bf16>, kernel::ConvertAll<float, f16>> all_;
  std::vector<Tensor<u8, 1, D>> held_;
};

}  // namespace detail

template <Device D>
class FlatParameters {
 public:
  struct Segment {
    std::string name;
    i64 offset, size;
    bool matrix;
    StateItem (*item)(const Segment&, const std::string& name, const Tensor<float, 1, D>& flat);
    std::vector<i64> extents;  // ours
    std::function<bool()> written;
    std::function<bool()> wanted;
    std::function<void()> forget;
    std::function<void(detail::NarrowGradients<D>&)> take_narrow;
  };

  // Throws where nothing is to be trained, where a parameter is in another FlatParameters, and for a weight decay that is
  // negative or not finite.
  template <Module M>
  explicit FlatParameters(M& net, float weight_decay = 0.f, Location at = Location::current()) {
    const Caller caller(at);
    detail::check_weight_decay(weight_decay);
    for_each_parameter(net, [](const std::string& name, auto& p) {
      if (p.slot && p.slot->taken())
        throw Error("a parameter is in two FlatParameters: the first would train what nothing reads any more",
                    {{"parameter", name}, {"remedy", "end the trainer or optimizer of before first"}});
    });
    for_each_parameter(net, [&]<int N, class P>(const std::string& name, Parameter<N, D, P>& p) {
      if (p.slot) p.slot->retire();
      p.slot = nullptr;
      if (p.requires_grad()) {
        segments_.push_back({name,
                             size_,
                             p.shape().size(),
                             N > 1,
                             &item_of<N>,
                             {p.shape().extents.begin(), p.shape().extents.end()},
                             {},
                             {},
                             {},
                             {}});
        if constexpr (Parameter<N, D, P>::has_working_copy) working_type_ = dtype_of<typename P::compute>;
        size_ += (p.shape().size() + kernel::optimizer_group - 1) / kernel::optimizer_group * kernel::optimizer_group;
      } else {
        const auto slot = p.slot = std::make_shared<typename Parameter<N, D, P>::Slot>(p.shape());
        slot->set_wanted(false);
        left_out_.push_back({name, [slot] { return slot->wanted(); }});
      }
    });
    if (segments_.empty())
      throw Error("nothing to train: every parameter is frozen", {{"remedy", "unfreeze at least one layer"}});
    values_ = make();
    gradients_ = make();
    if (working_type_ != DType::f32) working_ = Tensor<u8, 1, D>::zeros(Shape<1>(size_ * bytes(working_type_)));
    size_t next = 0;
    for_each_parameter(net, [&]<int N, class P>(const std::string&, Parameter<N, D, P>& p) {
      if (!p.requires_grad()) return;
      Segment& s = segments_[next++];
      const auto view = [&](const auto& flat) { return flat.slice(s.offset, s.offset + s.size).reshape(p.shape()); };
      const auto place = view(values_);
      p.make_master();
      place.copy_from(p.master);
      if constexpr (Parameter<N, D, P>::has_working_copy) p.bind(place, view(working_.template as<typename P::compute>()));
      else p.bind(place, place);
      const auto slot = p.slot = std::make_shared<typename Parameter<N, D, P>::Slot>(view(gradients_), alive_);
      s.written = [slot] { return slot->written(); };
      s.wanted = [slot] { return slot->wanted(); };
      s.forget = [slot] { slot->forget(); };
      s.take_narrow = [slot](detail::NarrowGradients<D>& all) {
        slot->take_narrow([&](const auto& to, const auto& from) { all.add(to, from); });
      };
    });
    for (const Segment& s : segments_) groups_.push_back({1.f, s.matrix ? weight_decay : 0.f, true});
    rate_ = Tensor<float, 1, D>(Shape<1>(size_ / kernel::optimizer_group));
    decay_ = Tensor<float, 1, D>(rate_.shape());
    send_groups();
  }

  i64 size() const { return size_; }
  const Tensor<float, 1, D>& values() const { return values_; }
  const Tensor<float, 1, D>& gradients() const { return gradients_; }
  const std::vector<Segment>& segments() const { return segments_; }
  kernel::FlatGroups groups() const { return {rate_.data(), decay_.data(), size_ / kernel::optimizer_group}; }
  Grid grid() const { return {(size_ + kernel::optimizer_chunk - 1) / kernel::optimizer_chunk}; }

  // f(working): the working copies, as the pointer of their type; null, a float*, where the values are what is computed with.
  template <class F>
  void with_working_copies(F&& f) const {
    switch (working_type_) {
      case DType::bf16:
        return f(working_.template as<bf16>().data());
      case DType::f16:
        return f(working_.template as<f16>().data());
      default:
        return f(static_cast<float*>(nullptr));
    }
  }
  // Says that an optimizer changed the values.
  void written() const { mindgap::written(values_, working_); }
  // A zeroed buffer of the same division, for an optimizer's state.
  Tensor<float, 1, D> make() const { return Tensor<float, 1, D>::zeros(Shape<1>(size_)); }

  // Multiplies the learning rate of the parameters that the pattern matches, and decays their weights by `weight_decay`, matrices
  // or not. Throws for numbers that are negative or not finite, and where nothing matches.
  void set_group(const std::string& pattern, float learning_rate, float weight_decay, Location at = Location::current());

  // Takes note of what was frozen and unfrozen since the last call; says whether anything was. Optimizers call it before a step,
  // by prepare(): the device is told, also for a step that is replayed. Only, a replay makes the gradients that were wanted when
  // it was captured: whoever has one makes it anew.
  bool follow_freezing();

  // Before gradients are read: those that no backward wrote are zero, and those of what is frozen; those in a 16-bit type are
  // converted, by one launch. After a step: gradients start afresh.
  void complete_gradients();
  void forget_gradients();
  // How often gradients have started afresh.
  i64 generation() const { return generation_; }
  // Brings the working copies up to date after the values were changed by something else than an optimizer.
  void refresh();

  // The entries of a flat buffer under the parameters' names, for a state dict.
  std::vector<StateItem> items(const Tensor<float, 1, D>& flat, const std::string& prefix) const;

 private:
  template <int N>
  static StateItem item_of(const Segment& s, const std::string& name, const Tensor<float, 1, D>& flat) {
    Shape<N> shape;
    for (int i = 0; i < N; ++i) shape[i] = s.extents[size_t(i)];
    return state_item(name, flat.slice(s.offset, s.offset + s.size).reshape(shape));
  }

  // What an optimizer does with a segment.
  struct Group {
    float rate, decay;
    bool trained;
  };

  // To the same memory, which a captured step reads.
  void send_groups();

  std::shared_ptr<const char> alive_ = std::make_shared<const char>();
  std::vector<Segment> segments_;
  std::vector<Group> groups_;                                            // of each segment
  std::vector<std::pair<std::string, std::function<bool()>>> left_out_;  // parameters in no buffer: whether they are wanted now
  i64 size_ = 0, generation_ = 0;
  DType working_type_ = DType::f32;
  Tensor<u8, 1, D> working_;
  Tensor<float, 1, D> values_, gradients_, rate_, decay_;
};

// Outside the class: compiled once for programs that link the glue (train/trainer_instances.hpp).
template <Device D>
void FlatParameters<D>::set_group(const std::string& pattern, float learning_rate, float weight_decay, Location at) {
  const Caller caller(at);
  detail::check_number("a group's share of the learning rate", learning_rate, learning_rate >= 0, "a finite number, 0 or more");
  detail::check_weight_decay(weight_decay);
  bool any = false;
  for (size_t k = 0; k < segments_.size(); ++k)
    if (matches(pattern, segments_[k].name)) groups_[k].rate = learning_rate, groups_[k].decay = weight_decay, any = true;
  if (!any) throw Error("no trained parameter matches '" + pattern + "'");
  send_groups();
}

template <Device D>
bool FlatParameters<D>::follow_freezing() {
  for (const auto& [name, wanted] : left_out_)
    if (wanted())
      throw Error("a parameter was unfrozen that no optimizer has: it was frozen when the optimizer was made",
                  {{"parameter", name}, {"remedy", "make a new optimizer or trainer after unfreezing"}});
  bool changed = false;
  for (size_t k = 0; k < segments_.size(); ++k)
    if (const bool trained = segments_[k].wanted(); trained != groups_[k].trained) groups_[k].trained = trained, changed = true;
  if (changed) send_groups();
  return changed;
}

template <Device D>
void FlatParameters<D>::complete_gradients() {
  detail::NarrowGradients<D> narrow;
  for (const Segment& s : segments_) {
    if (!s.wanted()) s.forget();
    if (!s.written()) Runtime<D>::zero(gradients_.data() + s.offset, s.size * i64(sizeof(float)));
    s.take_narrow(narrow);
  }
  narrow.convert();
}

template <Device D>
void FlatParameters<D>::forget_gradients() {
  for (const Segment& s : segments_) s.forget();
  ++generation_;
}

template <Device D>
void FlatParameters<D>::refresh() {
  with_working_copies([&]<class T>(T* working) {
    if constexpr (!std::is_same_v<T, float>) {
      using Round = kernel::Convert<T, float>;
      Runtime<D>::launch(Grid{(size_ + Round::per_block - 1) / Round::per_block}, Round{working, values_.data(), size_});
      working_.written();
    }
  });
}

template <Device D>
std::vector<StateItem> FlatParameters<D>::items(const Tensor<float, 1, D>& flat, const std::string& prefix) const {
  std::vector<StateItem> out;
  for (const Segment& s : segments_) out.push_back(s.item(s, prefix + s.name, flat));
  return out;
}

template <Device D>
void FlatParameters<D>::send_groups() {
  std::vector<float> rate(size_t(rate_.size()), 1.f), decay(rate.size(), 0.f);
  for (size_t k = 0; k < segments_.size(); ++k) {
    const i64 first = segments_[k].offset / kernel::optimizer_group,
              count = (segments_[k].size + kernel::optimizer_group - 1) / kernel::optimizer_group;
    std::fill_n(rate.begin() + first, count, groups_[k].trained ? groups_[k].rate : kernel::FlatGroups::frozen);
    std::fill_n(decay.begin() + first, count, groups_[k].decay);
  }
  Runtime<D>::from_host(rate_.data(), rate.data(), rate_.bytes());
  Runtime<D>::from_host(decay_.data(), decay.data(), decay_.bytes());
}

// What gradients are multiplied by before a step, decided on the device: clipping to a joint norm, and the loss scale of f16.
//
//   GradientScale<D> scale(parameters, {.limit = 1, .loss_scale = true});
//   backward(loss, scale.seed());
//   scale.measure();
//   optimizer.step(&scale);             left out, and the loss scale halved, where a gradient is not finite
template <Device D>
class GradientScale {
 public:
  struct Options {
    float limit = 0;          // of the joint L2 norm; 0: no clipping
    bool loss_scale = false;  // keep one: for f16
  };
  GradientScale(FlatParameters<D>& parameters, Options options)
      : parameters_(parameters),
        options_(options),
        factor_(Shape<1>(1)),
        norm_(Tensor<float, 1, D>::zeros(Shape<1>(1))),
        loss_scale_(options.loss_scale ? Tensor<float, 1, D>::from({65536.f, 0.f, 0.f}, Shape<1>(3)) : Tensor<float, 1, D>()) {
    if (!(options.limit >= 0.f))
      throw Error(text("gradients clipped to a norm of ", options.limit), {{"remedy", "a positive number, or 0: no clipping"}});
  }

  // What backward starts from; undefined (1) without a loss scale.
  Tensor<float, 1, D> seed() const { return loss_scale_.defined() ? loss_scale_.slice(0, 1) : loss_scale_; }

  // After backward: the norm of the gradients, and the factor of the next step. One pass over the gradients.
  void measure();

  // One element each: the joint norm before clipping, without the loss scale; the factor.
  const Tensor<float, 1, D>& norm() const { return norm_; }
  const Tensor<float, 1, D>& factor() const {
    if (measured_ != parameters_.generation())
      throw Error("the scale of these gradients was not measured",
                  {{"remedy", "measure() after backward() and before the step"}});
    return factor_;
  }
  const FlatParameters<D>& parameters() const { return parameters_; }
  // [3]: the scale, steps since it changed, steps left out; undefined without one.
  const Tensor<float, 1, D>& loss_scale() const { return loss_scale_; }

  std::vector<StateItem> items() const;

 private:
  FlatParameters<D>& parameters_;
  Options options_;
  Tensor<float, 1, D> factor_, norm_, loss_scale_;
  i64 measured_ = -1;  // of which generation of gradients
};

template <Device D>
void GradientScale<D>::measure() {
  const Op<D> op("norm of gradients");
  op.moves(parameters_.gradients());
  measured_ = parameters_.generation();
  parameters_.complete_gradients();
  const Grid grid = parameters_.grid();
  const Tensor<float, 1, D> partial{Shape<1>(grid.blocks)};
  Runtime<D>::launch(grid, kernel::SquareSums{partial.data(), parameters_.gradients().data(), parameters_.size()});
  Runtime<D>::launch(Grid{1}, kernel::GradientFactor{factor_.data(), norm_.data(), loss_scale_.data(), partial.data(),
                                                     grid.blocks, options_.limit});
}

template <Device D>
std::vector<StateItem> GradientScale<D>::items() const {
  if (!loss_scale_.defined()) return {};
  return {state_item("loss_scale", loss_scale_)};
}

}  // namespace mindgap
