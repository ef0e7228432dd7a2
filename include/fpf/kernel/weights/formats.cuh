// The packed weight formats, a file each.
#pragma once

#include <fpf/kernel/weights/dense.cuh>
#include <fpf/kernel/weights/int4.cuh>
#include <fpf/kernel/weights/nf4.cuh>
