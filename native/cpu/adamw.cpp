// AdamW (Loshchilov & Hutter 2019), and the weights it moves: exact fp32 as two 16-bit halves.
#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

// hi = (bits + 0x8000) >> 16, lo = bits - (hi << 16), both in the low half of a lane
inline Ints high_half(Ints bits) { return shift_right<16>(add(bits, all(0x8000))); }
inline Ints low_half(Ints bits, Ints high) { return subtract(bits, shift_left<16>(high)); }
inline Ints joined(Ints high, Ints low) { return add(shift_left<16>(high), low); }

}  // namespace

// hi, lo, x (n)
lethe_status split(lethe_device *device, uint16_t *hi, int16_t *lo, const float *x, int64_t n, lethe_stream *) {
  parallel_elements(device, n, [&](int64_t begin, int64_t end) {
    vectors(begin, end, [&](int64_t i, auto part) {
      const Ints bits = bits_of(load(x + i, part)), high = high_half(bits);
      store_16(hi + i, high, part);
      store_16(lo + i, low_half(bits, high), part);
    });
  });
  return LETHE_OK;
}

lethe_status join(lethe_device *device, float *x, const uint16_t *hi, const int16_t *lo, int64_t n, lethe_stream *) {
  parallel_elements(device, n, [&](int64_t begin, int64_t end) {
    vectors(begin, end, [&](int64_t i, auto part) {
      store(x + i, floats_of(joined(load_u16(hi + i, part), load_i16(lo + i, part))), part);
    });
  });
  return LETHE_OK;
}

namespace {

// The weights of a call, wherever they are kept.
struct Whole {
  float *weight;

  template <class Part>
  Floats load_at(int64_t i, Part part) const { return load(weight + i, part); }
  template <class Part>
  void store_at(int64_t i, Floats w, Part part) const { store(weight + i, w, part); }
};

struct Halves {
  uint16_t *high;
  int16_t *low;

  template <class Part>
  Floats load_at(int64_t i, Part part) const { return floats_of(joined(load_u16(high + i, part), load_i16(low + i, part))); }
  template <class Part>
  void store_at(int64_t i, Floats w, Part part) const {
    const Ints bits = bits_of(w), hi = high_half(bits);
    store_16(high + i, hi, part);
    store_16(low + i, low_half(bits, hi), part);
  }
};

// Steele & Vigna's splitmix64
inline uint64_t splitmix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Wellons' lowbias32, a bijection of 32 bits
inline Ints mixed(Ints x) {
  x = multiply(bit_xor(x, shift_right<16>(x)), all(0x7feb352d));
  x = multiply(bit_xor(x, shift_right<15>(x)), all(static_cast<int32_t>(0x846ca68bu)));
  return bit_xor(x, shift_right<16>(x));
}

// 32 random bits for parameter i of a step: key = splitmix(seed ^ splitmix(step)), i and key in halves of 32 bits,
//   mixed(mixed(i.low ^ key.low) ^ i.high ^ key.high)
class RandomBits {
 public:
  RandomBits(int64_t seed, int64_t step) : key_(splitmix(static_cast<uint64_t>(seed) ^ splitmix(static_cast<uint64_t>(step)))) {}

  Ints at(int64_t i) const {
    const uint64_t index = static_cast<uint64_t>(i);
    const Ints start = all(static_cast<int32_t>(index)), low = add(start, iota());
    const Ints carry = shift_right<31>(bit_and(start, bit_xor(low, all(-1))));  // lanes past a multiple of 2^32
    const Ints high = add(all(static_cast<int32_t>(index >> 32)), carry);
    const Ints inner = mixed(bit_xor(low, all(static_cast<int32_t>(key_))));
    return mixed(bit_xor(bit_xor(inner, high), all(static_cast<int32_t>(key_ >> 32))));
  }

 private:
  uint64_t key_;
};

// x rounded down or up to a bf16, up with the probability of how far it is on the way: random holds 16 bits.
template <class Part>
inline void store_moment(float *p, Floats x, Ints, Part part) { store(p, x, part); }
template <class Part>
inline void store_moment(Bf16 *p, Floats x, Ints random, Part part) {
  const Ints bits = bits_of(x);
  store_16(p, select(is_nan(x), bit_or(shift_right<16>(bits), all(0x40)), shift_right<16>(add(bits, random))), part);
}

struct Step {
  Floats beta1, beta2, rest1, rest2;  // rest = 1 - beta
  Floats correction1, correction2;    // 1 / (1 - beta^step)
  Floats minus_lr, eps, weight_decay, gradient_scale;
  RandomBits random;
  int64_t first;
};

template <class Weights, class G, class M>
inline void update(const Step &s, const Weights &weights, const G *gradient, M *m, M *v, int64_t begin, int64_t end) {
  vectors(begin, end, [&](int64_t i, auto part) {
    const Floats g = load(gradient + i, part) * s.gradient_scale;
    const Floats mean = fma(s.beta1, load(m + i, part), s.rest1 * g);
    const Floats square = fma(s.beta2, load(v + i, part), s.rest2 * (g * g));
    const Floats w = weights.load_at(i, part);
    const Floats direction = mean * s.correction1 / (sqrt(square * s.correction2) + s.eps);
    weights.store_at(i, fma(s.minus_lr, fma(s.weight_decay, w, direction), w), part);
    const Ints bits = sizeof(M) == 2 ? s.random.at(s.first + i) : iota();
    store_moment(m + i, mean, bit_and(bits, all(0xffff)), part);
    store_moment(v + i, square, shift_right<16>(bits), part);
  });
}

// 1 - beta^power
inline double rest(float beta, int64_t power) { return 1.0 - __builtin_pow(static_cast<double>(beta), static_cast<double>(power)); }
inline Floats narrowed(double x) { return all(static_cast<float>(x)); }

}  // namespace

// weight, low, gradient, m, v (n). The step itself takes the moments as they are before they are rounded.
lethe_status adamw(lethe_device *device, void *weight, int16_t *low, const void *gradient, void *m, void *v, int32_t dtype,
                   int32_t grad_dtype, int32_t moment_dtype, int64_t n, float lr, float beta1, float beta2, float eps, float weight_decay,
                   float gradient_scale, int64_t step, int64_t seed, int64_t first, lethe_stream *) {
  const Step s{all(beta1),
               all(beta2),
               narrowed(rest(beta1, 1)),
               narrowed(rest(beta2, 1)),
               narrowed(1.0 / rest(beta1, step)),
               narrowed(1.0 / rest(beta2, step)),
               all(-lr),
               all(eps),
               all(weight_decay),
               all(gradient_scale),
               RandomBits(seed, step),
               first};
  const auto with_weights = [&](auto body) {
    if (dtype == LETHE_F32) {
      body(Whole{static_cast<float *>(weight)});
    } else {
      body(Halves{static_cast<uint16_t *>(weight), low});
    }
  };
  with_weights([&](auto weights) {
    with_type(grad_dtype, [&](auto grad_type) {
      with_type(moment_dtype, [&](auto moment_type) {
        using G = decltype(grad_type);
        using M = decltype(moment_type);
        parallel_elements(device, n, [&](int64_t begin, int64_t end) {
          update(s, weights, static_cast<const G *>(gradient), static_cast<M *>(m), static_cast<M *>(v), begin, end);
        });
      });
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
