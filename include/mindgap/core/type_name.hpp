// The name of a type as the compiler spells it, for messages: type_name<SoftmaxRows<float>>() is
// "mindgap::SoftmaxRows<float>".
#pragma once

#include <string>
#include <string_view>

namespace mindgap {

template <class Named>
std::string type_name() {
  // g++: "... [with Named = X; std::string = ...]"; nvcc's front end: "... [with Named=X]".
  std::string_view signature = __PRETTY_FUNCTION__;
  signature.remove_prefix(signature.find("with Named") + 10);
  signature.remove_prefix(signature.find_first_not_of(" ="));
  return std::string(signature.substr(0, signature.find_first_of(";]")));
}

}  // namespace mindgap
