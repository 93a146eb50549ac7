// The tier's table of kernels.
#include "tier.h"

namespace lethe::LETHE_TIER {

extern const Kernels kernels;

#define LETHE_ENTRY(name) &name,
const Kernels kernels{LETHE_KERNELS(LETHE_ENTRY)};
#undef LETHE_ENTRY

}  // namespace lethe::LETHE_TIER
