// PTX's conversions. An integer register may be wider than what is converted from it or to it.
#include <cmath>

#include "ptx_lanes.h"

namespace simt::ptx {
namespace {

template <class To, class ToRegister, class From, class FromRegister>
struct Convert {
  ToRegister operator()(FromRegister x) const { return static_cast<ToRegister>(static_cast<To>(static_cast<From>(x))); }
};

// cvt.to.from with every register that may hold them
template <class To, class From>
void add_integers(Opcodes &table, const std::string &to, const std::string &from) {
  const std::string name = "cvt." + to + "." + from;
  const auto with_source = [&]<class FromRegister>(FromRegister) {
    const auto with_both = [&]<class ToRegister>(ToRegister) {
      if constexpr (sizeof(ToRegister) >= sizeof(To) && sizeof(FromRegister) >= sizeof(From)) {
        // Of conversions that are the same one is compiled: to all of a register, or from no more than its low bits.
        using Target = std::conditional_t<sizeof(To) == sizeof(ToRegister), ToRegister, To>;
        using Source = std::conditional_t<sizeof(To) <= sizeof(From), FromRegister, From>;
        table.add(name, lanes(Convert<Target, ToRegister, Source, FromRegister>{}));
      }
    };
    with_both(uint16_t{});
    with_both(uint32_t{});
    with_both(uint64_t{});
  };
  with_source(uint16_t{});
  with_source(uint32_t{});
  with_source(uint64_t{});
}

template <class Body>
void each_integer(Body body) {
  body(int8_t{}, "s8");
  body(uint8_t{}, "u8");
  body(int16_t{}, "s16");
  body(uint16_t{}, "u16");
  body(int32_t{}, "s32");
  body(uint32_t{}, "u32");
  body(int64_t{}, "s64");
  body(uint64_t{}, "u64");
}

}  // namespace

void add_conversions(Opcodes &table) {
  each_integer([&]<class To>(To, const char *to) {
    each_integer([&]<class From>(From, const char *from) { add_integers<To, From>(table, to, from); });
  });
  table.add("cvt.rn.f32.s32", lanes([](int32_t x) { return static_cast<float>(x); }));
  table.add("cvt.rn.f32.u32", lanes([](uint32_t x) { return static_cast<float>(x); }));
  table.add("cvt.rn.f32.s64", lanes([](int64_t x) { return static_cast<float>(x); }));
  table.add("cvt.rn.f64.s64", lanes([](int64_t x) { return static_cast<double>(x); }));
  table.add("cvt.f64.f32", lanes([](float x) { return static_cast<double>(x); }));
  table.add("cvt.rn.f32.f64", lanes([](double x) { return static_cast<float>(x); }));
  table.add("cvt.sat.f32.f32", lanes([](float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }));
  // the first source goes to the upper half
  table.add("cvt.rn.bf16x2.f32", lanes([](float high, float low) { return pack_bf16(low, high); }));
}

}  // namespace simt::ptx
