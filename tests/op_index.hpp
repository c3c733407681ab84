// The index of ops, include/mindgap/README.md: what is written down of an op beside its cases.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace mindgap::test {

struct OpDoc {
  std::string family, op;  // op: the name in the table of cases
  std::string call;        // on variables
  std::string on_tensors;  // the function on tensors; empty: the same
  std::string shapes, gradients;
  std::string header;                           // of variables, in include/mindgap/autograd/
  bool product = false;                         // whether the device's library computes it
  std::vector<std::function<void()>> mistakes;  // calls that throw, the messages of which are listed
};

// All ops that a network may call on variables, in the order of the index. tests/unit/op_index.cpp.
std::vector<OpDoc> op_docs();

// The page. cases: how many each op has.
std::string op_index(const std::map<std::string, int>& cases);

}  // namespace mindgap::test
