// All CPU kernels, compiled together into one shared library for each instruction set; setup.py has the commands.
#include "kernel.h"

#include "adaptive.h"
#include "batchnorm.h"
#include "convolution.h"
#include "depthwise.h"
#include "descent.h"
#include "elementwise.h"
#include "peak.h"
#include "pooling.h"
#include "softmax.h"
#include "threads.h"
#include "weight_gradient.h"

// The hash of these sources, so that a library beside other sources is noticed (gpunet/backend/cpu_library.py).
extern "C" __attribute__((visibility("default"))) const char* source_hash() { return SOURCE_HASH; }
