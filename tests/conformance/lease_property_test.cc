// SPDX-License-Identifier: Apache-2.0
// Random event sequences, late and false reports among them, against the naive
// books of the lab: every lease settles exactly once, every request is answered,
// and when all is over nobody carries load.
#include <gtest/gtest.h>

#include "conformance/lab.h"
#include "conformance/rows.h"

namespace lodestar::testing {
namespace {

class Leases : public ::testing::TestWithParam<std::string> {
 protected:
  // One random step. Reports may name leases and requests that are long gone, or
  // never were.
  static void step(Lab& lab, Rng& rng, std::vector<Incarnation>& life, std::uint64_t arrived) {
    const LeaseId lease = any_lease(lab, rng);
    const RequestId request(rng.below(arrived + 2) + 1);
    const auto id = static_cast<std::uint32_t>(rng.between(1, 6));
    switch (rng.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        lab.arrive(static_cast<double>(rng.between(1, 3000)),
                   blocks_of(rng.below(6), rng.below(40)),
                   rng.below(2) == 0 ? "s" + std::to_string(rng.below(5)) : "");
        break;
      case 4:
      case 5:
        lab.send(FirstToken{lease});
        break;
      case 6:
        lab.send(TokenProgress{{{lease, rng.between(1, 9)}, {any_lease(lab, rng), 2}}});
        break;
      case 7:
      case 8: {
        Ended end;
        end.lease = lease;
        end.output_tokens = rng.between(0, 50);
        lab.send(end);
        break;
      }
      case 9:
        lab.send(LeaseFailed{lease, ErrorCode::kConnection});
        break;
      case 10: {
        const auto it = lab.open().find(lease.value);
        lab.send(AttemptFailed{it != lab.open().end() ? it->second.request : request, lease,
                               ErrorCode::kConnection});
        break;
      }
      case 11:
        lab.send(Aborted{request});
        break;
      case 12:
        lab.up(id, rng.below(3) == 0 ? ++life[id] : std::max(life[id], 1u));
        break;
      case 13:
        if (rng.below(3) == 0) lab.down(id);
        break;
      case 14:
        lab.send(Timer{});
        break;
      case 15:
        lab.send(ScrapeFailed{InstanceId(id)});
        break;
    }
  }
  static LeaseId any_lease(const Lab& lab, Rng& rng) {
    if (lab.open().empty() || rng.below(8) == 0) return LeaseId(rng.below(400));  // maybe long gone
    auto it = lab.open().begin();
    std::advance(it, static_cast<std::ptrdiff_t>(rng.below(lab.open().size())));
    return LeaseId(it->first);
  }
};

TEST_P(Leases, SettleExactlyOnceUnderRandomEvents) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Lab lab(GetParam(), seed);
    Rng rng(seed * 977);
    std::vector<Incarnation> life(7, 1);
    for (std::uint32_t id = 1; id <= 6; ++id) lab.up(id);
    for (int i = 0; i < 400; ++i) {
      step(lab, rng, life, lab.router().counters().arrived);
      lab.advance(static_cast<DurationNs>(rng.below(5 * kMillisecond)));
      if (::testing::Test::HasFailure()) return;  // the first broken step tells most
    }
    lab.finish_all();
    EXPECT_EQ(lab.router().open_leases(), 0u);
    for (Fleet::Slot slot : lab.router().fleet().present()) {
      const OwnLoad& own = lab.router().fleet().at(slot).own;
      EXPECT_EQ(own.inflight, 0);
      EXPECT_EQ(own.pending_prompt_tokens, 0);
      EXPECT_EQ(own.pending_uncached_tokens, 0);
      EXPECT_EQ(own.decode_context_tokens, 0);
    }
    for (const auto& [lease, log] : lab.log().leases) {
      EXPECT_EQ(log.placed, 1) << "lease " << lease;
      EXPECT_EQ(log.settled, 1) << "lease " << lease;
      EXPECT_LE(log.first_token, 1) << "lease " << lease;
    }
    EXPECT_EQ(lab.router().counters().invalid_decisions, 0u);
  }
}

TEST_P(Leases, RetryGoesElsewhereAndGivesUpInTheEnd) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 5; ++id) lab.up(id);
  const RequestId r = lab.arrive(500, blocks_of(1, 30), "s");
  std::vector<InstanceId> tried;
  for (int attempt = 0; attempt < 3; ++attempt) {
    for (int i = 0; i < 3 && lab.fate(r) == Lab::Fate::kHeld; ++i) {
      lab.advance(20 * kMillisecond);
      lab.send(Timer{});
    }
    ASSERT_EQ(lab.fate(r), Lab::Fate::kPlaced) << "attempt " << attempt;
    const InstanceId at = lab.where(r);
    for (InstanceId before : tried) EXPECT_NE(at, before) << "went back to who failed it";
    tried.push_back(at);
    lab.send(AttemptFailed{r, lab.dispatch(r).placements[0].lease, ErrorCode::kConnection});
  }
  EXPECT_EQ(lab.fate(r), Lab::Fate::kRejected);
  EXPECT_EQ(lab.router().open_leases(), 0u);
}

// A report about an attempt that is over must not touch the one that replaced it.
TEST_P(Leases, LateReportsChangeNothing) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 4; ++id) lab.up(id);
  const RequestId r = lab.arrive(500, blocks_of(1, 30), "s");
  const auto release = [&] {
    for (int i = 0; i < 3 && lab.fate(r) == Lab::Fate::kHeld; ++i) {
      lab.advance(20 * kMillisecond);
      lab.send(Timer{});
    }
  };
  release();
  const LeaseId first = lab.dispatch(r).placements[0].lease;
  lab.send(AttemptFailed{r, first, ErrorCode::kTimeout});
  release();
  const std::vector<LeaseId> current = lab.leases_of(r);
  ASSERT_FALSE(current.empty());
  const std::uint64_t ignored = lab.router().counters().ignored_reports;
  lab.send(AttemptFailed{r, first, ErrorCode::kTimeout});
  lab.send(FirstToken{first});
  lab.send(Ended{first, 3, {}, 0});
  lab.send(LeaseFailed{first, ErrorCode::kConnection});
  EXPECT_EQ(lab.leases_of(r), current);
  EXPECT_EQ(lab.router().counters().ignored_reports, ignored + 4);
  lab.finish_all();
  lab.send(Aborted{r});
  lab.send(Ended{current[0], 3, {}, 0});
  EXPECT_EQ(lab.router().counters().ignored_reports, ignored + 6);
}

TEST_P(Leases, AbortReleasesTheLoadAtOnce) {
  Lab lab(GetParam());
  lab.up(1);
  lab.up(2);
  const RequestId r = lab.arrive(500, blocks_of(1, 30));
  lab.send(Aborted{r});
  EXPECT_EQ(lab.router().open_leases(), 0u);
  EXPECT_EQ(lab.router().active_requests(), 0u);
  for (Fleet::Slot slot : lab.router().fleet().present())
    EXPECT_EQ(lab.router().fleet().at(slot).own.inflight, 0);
  lab.finish_all();
}

INSTANTIATE_TEST_SUITE_P(Catalog, Leases, ::testing::ValuesIn(all_rows()), row_test_name);

TEST(HoldReorder, AnswersNewestFirstWhenFourAreHeld) {
  Lab lab(kHoldReorder);
  lab.up(1);
  lab.up(2);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(lab.fate(lab.arrive(100)), Lab::Fate::kHeld);
  RequestInfo info;
  info.prompt_tokens = 100;
  const Effects effects = lab.send(RequestArrived{RequestId(4), info});
  std::vector<std::uint64_t> order;
  for (const Effect& e : effects)
    if (const auto* d = std::get_if<Dispatch>(&e)) order.push_back(d->request.value);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{4, 3, 2, 1}));
}

TEST(HoldReorder, PatienceRunsOutAfterTwentyMilliseconds) {
  Lab lab(kHoldReorder);
  lab.up(1);
  const RequestId r = lab.arrive(100);
  lab.advance(19 * kMillisecond);
  lab.send(Timer{});
  EXPECT_EQ(lab.fate(r), Lab::Fate::kHeld);
  lab.advance(kMillisecond);
  lab.send(Timer{});
  EXPECT_EQ(lab.fate(r), Lab::Fate::kPlaced);
}

TEST(HoldReorder, AnAbortedRequestIsForgotten) {
  Lab lab(kHoldReorder);
  lab.up(1);
  const RequestId gone = lab.arrive(100), kept = lab.arrive(100);
  lab.send(Aborted{gone});
  EXPECT_EQ(lab.log().forgotten, std::vector<std::uint64_t>{gone.value});
  lab.advance(20 * kMillisecond);
  lab.send(Timer{});
  EXPECT_EQ(lab.fate(kept), Lab::Fate::kPlaced);
  EXPECT_EQ(lab.fate(gone), Lab::Fate::kUnknown);
}

TEST(Pair, PlacesPromptAndAnswerOnTwoInstances) {
  Lab lab(kPair);
  for (std::uint32_t id = 1; id <= 3; ++id) lab.up(id);
  const RequestId r = lab.arrive(100);
  const auto& placements = lab.dispatch(r).placements;
  ASSERT_EQ(placements.size(), 2u);
  EXPECT_EQ(placements[0].role, Role::kPrefill);
  EXPECT_EQ(placements[1].role, Role::kDecode);
  EXPECT_NE(placements[0].instance, placements[1].instance);
  // The prompt's lease settles by itself; the request lives on with the other.
  lab.send(FirstToken{placements[0].lease});
  lab.send(Ended{placements[0].lease, 1, {}, 0});
  EXPECT_EQ(lab.router().active_requests(), 1u);
  // The decode side fails before a byte was sent: both are placed again.
  lab.send(AttemptFailed{r, placements[1].lease, ErrorCode::kConnection});
  EXPECT_EQ(lab.leases_of(r).size(), 2u);
  lab.finish_all();
}

TEST(Pair, ASingleCandidateTakesBoth) {
  Lab lab(kPair);
  lab.up(1);
  const RequestId r = lab.arrive(100);
  ASSERT_EQ(lab.dispatch(r).placements.size(), 1u);
  EXPECT_EQ(lab.dispatch(r).placements[0].role, Role::kFull);
}

}  // namespace
}  // namespace lodestar::testing
