// SPDX-License-Identifier: Apache-2.0
#include "telemetry/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "telemetry/journal_text.h"

namespace lodestar::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Event> all_events() {
  RequestInfo info;
  info.served_model = "m\"\\\n";
  info.session_key = "s";
  info.prompt_bytes = 1000;
  info.prompt_tokens = 1.0 / 3;
  info.block_hashes = {1, 0xffffffffffffffffULL};
  info.block_bytes = 256;
  info.slo = {100, 20};
  info.priority = -3;
  InstanceInfo instance;
  instance.id = InstanceId{7};
  instance.incarnation = 2;
  instance.name = "e";
  instance.served_models = {"m", "n"};
  instance.kv_capacity_tokens = 1 << 20;
  LoadSnapshot load;
  load.running = 3;
  load.kv_usage = std::numeric_limits<double>::quiet_NaN();
  load.waiting = std::numeric_limits<double>::infinity();
  load.taken_at = 99;
  Usage usage;
  usage.prompt_tokens = 5;
  return {RequestArrived{RequestId{1}, info},
          AttemptFailed{RequestId{1}, LeaseId{2}, ErrorCode::kTimeout},
          TokenProgress{{{LeaseId{1}, 5}, {LeaseId{2}, 6}}},
          FirstToken{LeaseId{3}},
          Ended{LeaseId{3}, 40, usage, 123},
          LeaseFailed{LeaseId{4}, ErrorCode::kConnection},
          Aborted{RequestId{9}},
          Scraped{InstanceId{7}, 2, load},
          ScrapeFailed{InstanceId{7}},
          InstanceUp{instance},
          InstanceChanged{InstanceId{7}, Health::kDraining},
          InstanceDown{InstanceId{7}},
          KvEvicted{InstanceId{7}, {1, 2, 3}},
          PredictorPublished{1, nullptr},
          Timer{},
          StateLoaded{"lodestar", "m", std::string("\0\xff\x10z", 4), nullptr}};
}

std::string text_of(const Event& event) {
  std::string out;
  append_event(out, event);
  return out;
}

TEST(JournalText, EveryEventSurvivesTheRoundTrip) {
  const auto events = all_events();
  ASSERT_EQ(events.size(), std::variant_size_v<Event>);
  for (const Event& event : events) {
    const std::string line =
        "{\"n\":4,\"t\":-5," + text_of(event) + ",\"x\":[{\"x\":\"hold\",\"id\":1}]}";
    auto record = parse_journal_record(line);
    ASSERT_TRUE(record) << line << ": " << record.error().message;
    EXPECT_EQ(record->number, 4u);
    EXPECT_EQ(record->at, -5);
    EXPECT_EQ(record->event.index(), event.index());
    EXPECT_EQ(text_of(record->event), text_of(event));
    EXPECT_EQ(record->effects, "[{\"x\":\"hold\",\"id\":1}]");
  }
}

TEST(JournalText, BadLinesAreErrors) {
  for (const char* line :
       {"", "{}", "{\"n\":1,\"t\":1,\"e\":\"nope\",\"x\":[]}", "[1],\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"first_token\",\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"first_token\",\"lease\":\"a\",\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"changed\",\"i\":1,\"health\":9,\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"scrape_failed\",\"i\":4294967296,\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"state\",\"policy\":\"p\",\"model\":\"m\",\"bytes\":"
        "\"abc\",\"x\":[]}",
        "{\"n\":1,\"t\":1,\"e\":\"state\",\"policy\":\"p\",\"model\":\"m\",\"bytes\":"
        "\"gg\",\"x\":[]}"})
    EXPECT_FALSE(parse_journal_record(line)) << line;
  const std::string good = "{\"n\":1,\"t\":1," + text_of(all_events()[0]) + ",\"x\":[]}";
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(parse_journal_record(good.substr(0, n))) << n;
}

// Rules expect nothing, and their lines do not grow.
TEST(JournalText, ADispatchSaysWhatWasExpected) {
  Dispatch dispatch;
  dispatch.request = RequestId{3};
  std::string rule, learner;
  append_effects(rule, {dispatch});
  EXPECT_THAT(rule, Not(HasSubstr("ttft")));
  dispatch.forecast = {12.5, 10, 20, 3};
  append_effects(learner, {dispatch});
  EXPECT_THAT(learner, HasSubstr(R"("ttft_ms":12.5,"ttft90_ms":[10,20],"tpot_ms":3})"));
}

TEST(JournalText, HeaderRoundTrip) {
  RouterConfig config;
  config.seed = 77;
  config.policy = "x:y=1";
  config.policy_by_model = {{"a\"b", "p"}};
  config.prefix_block_tokens = 64;
  auto header = parse_journal_header(journal_header(config, 12));
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->next, 12u);
  EXPECT_EQ(header->config.seed, 77u);
  EXPECT_EQ(header->config.policy, "x:y=1");
  EXPECT_EQ(header->config.policy_by_model, config.policy_by_model);
  EXPECT_EQ(header->config.prefix_block_tokens, 64);
  EXPECT_FALSE(parse_journal_header("{}"));
  EXPECT_FALSE(parse_journal_header("{\"lodestar_journal\":99}"));
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

class JournalFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(::testing::TempDir()) /
           ("lodestar_journal_" + std::to_string(::getpid()) + "_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::filesystem::path dir_;
};

TEST_F(JournalFiles, WritesRotatesAndKeepsOldRuns) {
  const auto path = dir_ / "j";
  for (int run = 0; run < 2; ++run) {
    auto journal = Journal::open({path.string(), 2000, 3}, {});
    ASSERT_TRUE(journal) << journal.error().message;
    for (int i = 0; i < 100; ++i) (*journal)->record(i, Timer{}, {});
    (*journal)->close();
    EXPECT_EQ((*journal)->dropped(), 0u);
    const auto lines = lines_of(path);
    ASSERT_TRUE(parse_journal_header(lines.at(0)));
    EXPECT_EQ(lines.size(), 101u);
    auto last = parse_journal_record(lines.back());
    ASSERT_TRUE(last) << last.error().message;
    EXPECT_EQ(last->number, 99u);
  }
  EXPECT_EQ(lines_of(dir_ / "j.1").size(), 101u);  // the first run
}

TEST_F(JournalFiles, FilesAreBounded) {
  const auto path = dir_ / "j";
  auto journal = Journal::open({path.string(), 300 << 10, 2}, {});
  ASSERT_TRUE(journal);
  KvEvicted big{InstanceId{1}, std::vector<std::uint64_t>(5'000, 0x123456789abcdefULL)};
  for (int i = 0; i < 100; ++i) (*journal)->record(i, big, {});
  (*journal)->close();
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_))
    files += entry.is_regular_file();
  EXPECT_EQ(files, 2u);
  auto header = parse_journal_header(lines_of(path).at(0));
  ASSERT_TRUE(header);
  auto first = parse_journal_record(lines_of(path).at(1));
  ASSERT_TRUE(first);
  EXPECT_EQ(header->next, first->number);
}

TEST_F(JournalFiles, APlaceThatCannotBeWrittenIsAnError) {
  auto journal = Journal::open({(dir_ / "no" / "such" / "j").string(), 1000, 2}, {});
  ASSERT_FALSE(journal);
  EXPECT_THAT(journal.error().message, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace lodestar::telemetry
