// What nearly every file that sees tensors reads: 9 s of compile time without, 3 s with it.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "precompiled.hpp"
