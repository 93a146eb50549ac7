// What the threads of a warp or of a block do together: they meet, and the last to arrive does it for all.
#include <algorithm>
#include <cstring>

#include "fragments.h"
#include "multiprocessor.h"
#include "shadow.h"

namespace simt {
namespace {

bool same_place(Site a, Site b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

bool has(unsigned lanes, unsigned lane) { return (lanes >> lane & 1u) != 0; }

template <class Body>
void each(unsigned lanes, Body body) {
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1) body(static_cast<unsigned>(__builtin_ctz(rest)));
}

// Brings `offer` to the other lanes of `mask`; act(warp, mask) happens once all are there.
template <class Act>
void meet(unsigned mask, Together what, int detail, void *offer, Site site, Act act) {
  Multiprocessor &m = *multiprocessor;
  Thread &self = *m.current;
  Warp &warp = *self.warp;
  const unsigned bit = 1u << self.lane;
  if ((mask & bit) == 0) {
    fail(cudaErrorLaunchFailure, "bad-mask", "%s at %s:%d with mask %08x, which leaves out the calling lane %u", name_of(what), site.file,
         site.line, mask, self.lane);
  }
  if ((mask & ~warp.live) != 0) {
    fail(cudaErrorLaunchFailure, "early-exit", "%s at %s:%d with mask %08x, of whose lanes %08x have exited or never were", name_of(what),
         site.file, site.line, mask, mask & ~warp.live);
  }
  int at = 0;
  while (at < warp.meetings && (warp.meeting[at].mask & mask) == 0) at++;
  Meeting &meeting = warp.meeting[at];
  if (at == warp.meetings) {
    warp.meetings++;
    meeting = {mask, 0, what, detail, site};
  } else if (meeting.mask != mask || meeting.what != what || meeting.detail != detail) {
    fail(cudaErrorLaunchFailure, "divergent-warp", "%s at %s:%d (mask %08x) while lanes of the warp wait in %s at %s:%d (mask %08x)",
         name_of(what), site.file, site.line, mask, name_of(meeting.what), meeting.site.file, meeting.site.line, meeting.mask);
  }
  warp.offered[self.lane] = offer;
  meeting.arrived |= bit;
  if (meeting.arrived != mask) {
    if (m.barrier.arrived > 0) {
      each(mask & ~meeting.arrived, [&](unsigned lane) {
        const Thread &missing = warp.threads[lane];
        if (missing.waits_for != Together::kBarrier || has(warp.ready, lane)) return;
        fail(cudaErrorLaunchFailure, "divergent-barrier", "%s at %s:%d waits for lane %u, which waits in __syncthreads at %s:%d",
             name_of(what), site.file, site.line, lane, missing.site.file, missing.site.line);
      });
    }
    self.waits_for = what;
    self.site = site;
    suspend(m);
    self.waits_for = Together::kNothing;
    return;
  }
  warp.meeting[at] = warp.meeting[--warp.meetings];
  act(warp, mask);
  if (m.order == Order::kRandom) {
    make_ready(m, warp, mask);
    suspend(m);
  } else {
    make_ready(m, warp, mask & ~bit);
  }
}

struct Tiles {
  uint32_t *tiles;
  const char *row;
};

struct Product {
  float *c;
  const uint32_t *a;
  uint32_t b0, b1;
};

void whole_warp(Together what, unsigned live, Site site) {
  if (live != ~0u) {
    fail(cudaErrorLaunchFailure, "early-exit", "%s at %s:%d needs all lanes of the warp; only %08x are there", name_of(what), site.file,
         site.line, live);
  }
}

}  // namespace

uint64_t shuffle(unsigned mask, uint64_t value, Shuffle how, int by, int width, Site site) {
  const Thread &self = *multiprocessor->current;
  self.warp->value[self.lane] = value;
  self.warp->by[self.lane] = by;
  meet(mask, Together::kShuffle, static_cast<int>(how) * 64 + width, nullptr, site, [how, width, site](Warp &warp, unsigned lanes) {
    if (how == Shuffle::kXor && lanes == ~0u && width == 32) {
      for (unsigned lane = 0; lane < kLanes; lane++) {
        const unsigned from = lane ^ static_cast<unsigned>(warp.by[lane]);
        warp.result[lane] = warp.value[from < kLanes ? from : lane];
      }
      return;
    }
    const int last = width - 1;
    each(lanes, [&](unsigned lane) {
      const int at = static_cast<int>(lane), base = at & ~last, distance = warp.by[lane];
      int from = at;
      switch (how) {
        case Shuffle::kIndex: from = base + (distance & last); break;
        case Shuffle::kUp: from = at - distance >= base ? at - distance : at; break;
        case Shuffle::kDown: from = (at & last) + distance <= last ? at + distance : at; break;
        case Shuffle::kXor: from = (at ^ distance) <= (at | last) ? at ^ distance : at; break;
      }
      if (!has(lanes, static_cast<unsigned>(from))) {
        fail(cudaErrorLaunchFailure, "inactive-lane", "a shuffle at %s:%d: lane %u reads lane %d, which takes no part (mask %08x)",
             site.file, site.line, lane, from, lanes);
      }
      warp.result[lane] = warp.value[from];
    });
  });
  return self.warp->result[self.lane];
}

unsigned vote(unsigned mask, Vote how, unsigned value, Site site) {
  const Thread &self = *multiprocessor->current;
  self.warp->value[self.lane] = value;
  meet(mask, Together::kVote, static_cast<int>(how), nullptr, site, [how](Warp &warp, unsigned lanes) {
    const unsigned first = static_cast<unsigned>(__builtin_ctz(lanes));
    unsigned result = static_cast<unsigned>(warp.value[first]);
    if (how == Vote::kBallot) result <<= first;
    each(lanes & (lanes - 1), [&](unsigned lane) {
      const unsigned x = static_cast<unsigned>(warp.value[lane]);
      const int a = static_cast<int>(result), b = static_cast<int>(x);
      switch (how) {
        case Vote::kBallot: result |= x << lane; break;
        case Vote::kAny:
        case Vote::kOr: result |= x; break;
        case Vote::kAll:
        case Vote::kAnd: result &= x; break;
        case Vote::kXor: result ^= x; break;
        case Vote::kAdd: result += x; break;
        case Vote::kMin: result = std::min(result, x); break;
        case Vote::kMax: result = std::max(result, x); break;
        case Vote::kSignedMin: result = static_cast<unsigned>(std::min(a, b)); break;
        case Vote::kSignedMax: result = static_cast<unsigned>(std::max(a, b)); break;
      }
    });
    each(lanes, [&](unsigned lane) { warp.result[lane] = result; });
  });
  return static_cast<unsigned>(self.warp->result[self.lane]);
}

unsigned match_any(unsigned mask, uint64_t value, Site site) {
  const Thread &self = *multiprocessor->current;
  self.warp->value[self.lane] = value;
  meet(mask, Together::kMatch, 0, nullptr, site, [](Warp &warp, unsigned lanes) {
    each(lanes, [&](unsigned lane) {
      warp.result[lane] = 0;
      each(lanes, [&](unsigned other) { warp.result[lane] |= static_cast<uint64_t>(warp.value[other] == warp.value[lane]) << other; });
    });
  });
  return static_cast<unsigned>(self.warp->result[self.lane]);
}

unsigned active_mask() { return 1u << multiprocessor->current->lane; }

void sync_warp(unsigned mask, Site site) {
  meet(mask, Together::kSyncwarp, 0, nullptr, site, [](Warp &warp, unsigned lanes) {
    if (lanes == warp.live) warp.epoch++;
  });
}

int barrier(Barrier how, int predicate, Site site) {
  Multiprocessor &m = *multiprocessor;
  Thread &self = *m.current;
  BarrierState &state = m.barrier;
  for (int i = 0; i < self.warp->meetings; i++) {
    const Meeting &meeting = self.warp->meeting[i];
    if (has(meeting.mask, self.lane)) {
      fail(cudaErrorLaunchFailure, "divergent-barrier", "__syncthreads at %s:%d while lanes of the warp wait for this one in %s at %s:%d",
           site.file, site.line, name_of(meeting.what), meeting.site.file, meeting.site.line);
    }
  }
  if (m.live != m.thread_count) {
    fail(cudaErrorLaunchFailure, "divergent-barrier", "__syncthreads at %s:%d after %u threads of the block have exited", site.file,
         site.line, m.thread_count - m.live);
  }
  if (state.arrived == 0) {
    state = {0, self.index, site, false, true, 0};
  } else if (!same_place(state.site, site)) {
    fail(cudaErrorLaunchFailure, "divergent-barrier", "__syncthreads at %s:%d while thread %u waits in the one at %s:%d", site.file,
         site.line, state.first, state.site.file, state.site.line);
  }
  state.any |= predicate != 0;
  state.all &= predicate != 0;
  state.count += predicate != 0;
  self.site = site;
  if (++state.arrived < m.live) {
    self.waits_for = Together::kBarrier;
    suspend(m);
    self.waits_for = Together::kNothing;
  } else {
    m.barrier_result = {state.any, state.all, state.count};
    state.arrived = 0;
    m.epoch++;
    const bool yields = m.order == Order::kRandom;
    for (unsigned w = 0; w * kLanes < m.thread_count; w++) {
      Warp &warp = m.warps[w];
      make_ready(m, warp, &warp == self.warp && !yields ? warp.live & ~(1u << self.lane) : warp.live);
    }
    if (yields) suspend(m);
  }
  const BarrierResult &result = m.barrier_result;
  return how == Barrier::kOr ? result.any : how == Barrier::kAnd ? result.all : result.count;
}

void load_matrix(uint32_t *tiles, const void *row, bool transposed, Site site) {
  const Together what = transposed ? Together::kLoadMatrixTransposed : Together::kLoadMatrix;
  Multiprocessor &m = *multiprocessor;
  whole_warp(what, m.current->warp->live, site);
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    fail(cudaErrorMisalignedAddress, "misaligned", "%s at %s:%d: the row address %p is not a multiple of 16", name_of(what), site.file,
         site.line, row);
  }
  if (!m.shared.contains(row)) {
    fail(cudaErrorInvalidAddressSpace, "not-shared", "%s at %s:%d: the row address %p is not in shared memory", name_of(what), site.file,
         site.line, row);
  }
  Tiles offer = {tiles, static_cast<const char *>(row)};
  meet(~0u, what, 0, &offer, site, [transposed](Warp &warp, unsigned) {
    const auto offer_of = [&](unsigned lane) { return static_cast<Tiles *>(warp.offered[lane]); };
    const auto row_of = [&](unsigned lane) {
      check_access(offer_of(lane)->row, 16, Access::kRead, warp.threads[lane]);
      return offer_of(lane)->row;
    };
    const auto register_of = [&](unsigned lane, unsigned tile) -> uint32_t & { return offer_of(lane)->tiles[tile]; };
    if (transposed) {
      fragments::load_tiles<true>(row_of, register_of);
    } else {
      fragments::load_tiles<false>(row_of, register_of);
    }
  });
}

void multiply_accumulate(float *c, const uint32_t *a, uint32_t b0, uint32_t b1, Site site) {
  whole_warp(Together::kMultiplyAccumulate, multiprocessor->current->warp->live, site);
  Product offer = {c, a, b0, b1};
  meet(~0u, Together::kMultiplyAccumulate, 0, &offer, site, [](Warp &warp, unsigned) {
    const auto of = [&](unsigned lane) -> Product & { return *static_cast<Product *>(warp.offered[lane]); };
    const auto c_of = [&](unsigned lane, unsigned i) -> float & { return of(lane).c[i]; };
    fragments::multiply_accumulate([&](unsigned lane, unsigned i) { return of(lane).a[i]; },
                                   [&](unsigned lane, unsigned i) { return i == 0 ? of(lane).b0 : of(lane).b1; }, c_of, c_of);
  });
}

}  // namespace simt
