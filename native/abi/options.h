// The options of lethe_open: NAME=VALUE, separated by one space.
#pragma once

#include <string_view>

#include "failure.h"

namespace lethe {

// Gives every option to `take`, in order; one that it does not know (false) is refused with `known`, those that there are.
template <class Take>
void each_option(const char *text, const char *known, Take take) {
  std::string_view rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const std::string_view option = rest.substr(0, rest.find(' '));
    if (!take(option)) {
      raise(LETHE_INVALID_ARGUMENT, "'%.*s' is not an option; there are %s, separated by one space", static_cast<int>(option.size()),
            option.data(), known);
    }
    rest.remove_prefix(option.size());
    if (rest.size() == 1) raise(LETHE_INVALID_ARGUMENT, "the options end in a space");
    if (!rest.empty()) rest.remove_prefix(1);
  }
}

}  // namespace lethe
