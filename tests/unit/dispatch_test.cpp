// Names of devices and precisions become types, or errors that say what is wrong.
#include <mindgap/nn/dispatch.hpp>

#include <boost/test/unit_test.hpp>
#include <string>

using namespace mindgap;

namespace {

// "cpu f32"
std::string chosen(const std::string& device, const std::string& precision) {
  return with_precision(device, precision,
                        []<class D, class P>(D, P) { return std::string(D::name) + " " + precision_name<D, P>(); });
}
auto says(const std::string& part) {
  return [=](const Error& error) { return std::string(error.what()).find(part) != std::string::npos; };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dispatch)

BOOST_AUTO_TEST_CASE(names_become_types) {
  BOOST_TEST(chosen("cpu", "f32") == "cpu f32");
  BOOST_TEST(chosen("cpu", "bf16") == "cpu bf16");
  BOOST_TEST(chosen("auto", "f32") == "cpu f32");  // a build without CUDA
  BOOST_TEST(with_device("cpu", []<class D>(D) { return std::string(D::name); }) == "cpu");
}

BOOST_AUTO_TEST_CASE(what_there_is_not_is_said) {
  BOOST_CHECK_EXCEPTION(chosen("tpu", "f32"), Error, says("there is no device 'tpu'"));
  BOOST_CHECK_EXCEPTION(chosen("cuda", "f32"), Error, says("MINDGAP_CUDA=ON"));
  for (const char* precision : {"f16", "tf32", "f64", ""})
    BOOST_CHECK_EXCEPTION(chosen("cpu", precision), Error, says("does not compute in '" + std::string(precision) + "'"));
}

BOOST_AUTO_TEST_SUITE_END()
