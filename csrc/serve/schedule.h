// How models share the team, as pure functions: whose batch comes next, and where it may run.
//
// The team is cut in two while two batches run: the front, led by the worker, and the back, led by
// one of the team's threads. The worker forms all batches, so what runs on the front must be short,
// or let the worker in between its parts, or be alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "csrc/base/clock.h"
#include "csrc/serve/pending_set.h"

namespace pelton {

// A batch predicted to run longer than this takes at most the team less one core while another
// model is loaded, so that the other's requests need not wait for it.
inline constexpr Nanos kLongBatchNs = 5'000'000;
// A batch predicted to run shorter than this is not worth the waking of another thread (some 15 us
// until it runs there).
inline constexpr Nanos kHandOverNsMin = 50'000;
inline constexpr Nanos kUnpredicted = -1;

// A model that could run something now.
struct Contender {
  const PendingRequest* first = nullptr;  // its most urgent request
  double served_ns = 0;                   // see FairShare
};

// Whether `a` is asked for a batch before `b`: the more urgent level, then whoever has had less
// than its share, then the more urgent request.
bool goes_before(const Contender& a, const Contender& b);

// Weighted fair sharing by what batches cost, in nanoseconds of one core: deficit round robin
// (Shreedhar, Varghese 1995) with the deficits kept as one number per model, what it was served
// divided by its weight (as start-time fair queueing does; Goyal, Vin, Cheng 1996). Whoever has the
// smallest goes first, so on one core, over any time in which two models have requests queued, what
// they were served per weight differs by a batch of each at most.
//
// Claims are bounded, so that no model is kept away for long. One that had nothing queued for a
// while comes back with a claim of kClaimNsMax at most: enough for who sends the next request when
// it has the last answer. And on several cores a model may be served more than its share because
// the batches that run leave it a core that no other can use; it owes the others kClaimNsMax for
// that at most.
class FairShare {
 public:
  static constexpr double kClaimNsMax = 20e6;

  // A model with `served_ns` has requests again. Returns its served_ns from now on.
  double join(double served_ns) const { return std::max(served_ns, now_ - kClaimNsMax); }
  // A batch was chosen whose model was served so much before.
  void choose(double served_ns) { now_ = std::max(now_, served_ns); }
  // The same for a batch that starts beside a running one, on ranks that the other does not use.
  static double beside(double served_ns, double other_served_ns) {
    return std::min(served_ns, other_served_ns + kClaimNsMax);
  }

 private:
  double now_ = 0;  // the largest served_ns of a model that was chosen
};

// What is known of a batch before it runs.
struct BatchOutlook {
  int threads = 1;                 // it is worth, at most the team
  Nanos predicted = kUnpredicted;  // on those; unpredicted (the model's first batch) counts as long
  bool is_long() const { return predicted == kUnpredicted || predicted > kLongBatchNs; }
};

// Who uses the team, and who else wants it.
struct TeamUse {
  enum class Front : uint8_t {
    kFree,
    kBusy,      // the worker runs a batch; it is in that batch's hook
    kYielding,  // likewise, and the batch is long and on one rank: short ones may run inside it
  };
  int team_size = 1;
  Front front = Front::kFree;
  int front_ranks = 0;               // of the batch that runs there
  int back_ranks = 0;                // likewise
  bool others_loaded = false;        // models that take requests, besides the one that asks
  bool short_others_loaded = false;  // likewise, not counting those known to be long
  // Another model, not known to be long, has requests queued and no batch that runs. (A long one
  // needs the back, so a short batch must not be there.)
  bool short_others_wait = false;
  bool back_is_promised = false;  // to another model, whose turn it was
};

enum class Place : uint8_t {
  kNowhere,  // not now
  kFront,
  kBack,
  kNested,  // inside the front's batch, on its rank
};

struct Placement {
  Place place = Place::kNowhere;
  int ranks = 1;
  bool finely = false;  // kFront: in parts so short that others can run between them
};

// Pure. The ranks given are free: front + back never exceed the team.
Placement place_batch(const BatchOutlook& batch, const TeamUse& use);

}  // namespace pelton
