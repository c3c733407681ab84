// A ResNet for inference, its batch norms folded into the convolutions before them:
//
//   s = gamma rstd                      norm(conv(x, w)) = conv(x, s w) + (beta - s mean)
//
// so that a block is three convolutions, each with bias, residual and ReLU as its epilogue (Jacob et al., "Quantization and
// training of neural networks", 2018, section 3.2). Weights with masters are rounded once, after folding, others a second time:
// answers differ from those of the network in evaluation mode by roundings. The network is not changed and may go away.
#pragma once

#include <mindgap/models/resnet.hpp>

namespace mindgap {

template <Device D, class P>
class FoldedResNet {
 public:
  using T = typename P::compute;

  // Weights and running statistics as they are now: what the network learns later does not reach this one.
  explicit FoldedResNet(ResNet<D, P>& net)
      : large_stem_(net.config.stem == Stem::large),
        stem_(net.conv1, net.bn1),
        fc_weight_(net.fc.weight.value.clone()),
        fc_bias_(net.fc.bias.value.clone()) {
    for (auto* stage : {&net.layer1, &net.layer2, &net.layer3, &net.layer4})
      for (ResidualBlock<D, P>& block : *stage) blocks_.emplace_back(block);
  }

  // x [N, H, W, channels] -> logits [N, classes]
  Tensor<T, 2, D> operator()(const Tensor<T, 4, D>& x) const {
    Tensor<T, 4, D> y = stem_.relu(x);
    if (large_stem_) y = max_pool2d(y, 3, 2, 1);
    for (const Block& block : blocks_) y = block(y);
    return linear(global_avg_pool(y), fc_weight_, fc_bias_);
  }

 private:
  // A convolution and what is left of its norm.
  struct Conv {
    Tensor<T, 4, D> weight;
    Tensor<T, 1, D> bias;
    Tensor<float, 1, D> wide_bias;  // the same values
    ConvOptions options;

    Conv(Conv2d<D, P>& conv, BatchNorm2d<D, P>& norm) : options(conv.options) {
      const auto& statistics = norm.sets[norm.active];
      const std::vector<float> gamma = norm.weight.value.to_vector(), beta = norm.bias.value.to_vector(),
                               mean = statistics.running_mean.value.to_vector(),
                               variance = statistics.running_var.value.to_vector();
      const std::vector<float> weights = wide(conv.weight).to_vector();
      std::vector<T> folded, shift;
      const size_t per_output = weights.size() / gamma.size();
      for (size_t o = 0; o < gamma.size(); ++o) {
        const float scale = gamma[o] / std::sqrt(variance[o] + norm.eps);
        shift.push_back(T(beta[o] - scale * mean[o]));
        for (size_t i = 0; i < per_output; ++i) folded.push_back(T(scale * weights[o * per_output + i]));
      }
      weight = Tensor<T, 4, D>::from(folded, conv.weight.shape());
      bias = Tensor<T, 1, D>::from(shift, norm.weight.shape());
      wide_bias = cast<float>(bias);
    }

    static Tensor<float, 4, D> wide(const Parameter<4, D, P>& weight) {
      return weight.master.defined() ? weight.master : cast<float>(weight.value);
    }
    Tensor<T, 4, D> relu(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& residual = {}) const {
      return conv2d_bias_relu(x, weight, bias, options, residual);
    }
    Tensor<T, 4, D> plain(const Tensor<T, 4, D>& x) const { return conv2d(x, weight, wide_bias, options); }
  };

  struct Block {
    Conv first, second;
    std::optional<Conv> third, shortcut;

    explicit Block(ResidualBlock<D, P>& block) : first(block.conv1, block.bn1), second(block.conv2, block.bn2) {
      if (block.conv3) third.emplace(*block.conv3, *block.bn3);
      if (block.downsample) shortcut.emplace(block.downsample->conv, block.downsample->norm);
    }
    Tensor<T, 4, D> operator()(const Tensor<T, 4, D>& x) const {
      const Tensor<T, 4, D> residual = shortcut ? shortcut->plain(x) : x, y = first.relu(x);
      return third ? third->relu(second.relu(y), residual) : second.relu(y, residual);
    }
  };

  bool large_stem_;
  Conv stem_;
  std::vector<Block> blocks_;
  Tensor<T, 2, D> fc_weight_;
  Tensor<float, 1, D> fc_bias_;
};

}  // namespace mindgap
