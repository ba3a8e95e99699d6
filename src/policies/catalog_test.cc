// SPDX-License-Identifier: Apache-2.0
#include "policies/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace lodestar {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string error_of(std::string_view text, const PolicyParams& params = {}) {
  const auto made = make_policy(text, params);
  return made ? std::string() : made.error().message;
}

TEST(Catalog, NamesAreThoseThatUsersKnow) {
  std::set<std::string_view> names;
  for (const CatalogRow& row : catalog()) names.insert(row.name);
  for (std::string_view name : {"random",
                                "round-robin",
                                "least-request",
                                "power-of-two",
                                "least-prefill-tokens",
                                "least-kv-cache",
                                "consistent-hash",
                                "session-affinity",
                                "prefix-cache",
                                "prefix-cache-16-2",
                                "prefix-hit-threshold",
                                "cache-aware",
                                "lmetric",
                                "dynamo-kv",
                                "llm-d",
                                "preble",
                                "mooncake",
                                "lmetric-speeds",
                                "prefix-cache-speeds",
                                "lodestar-paper",
                                "lodestar-paper-labels"})
    EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(names.size(), catalog().size()) << "a name stands for one row";
}

TEST(Catalog, EveryRowIsCompleteAndItsDefaultsAreValid) {
  for (const CatalogRow& row : catalog()) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(row.summary.empty());
    EXPECT_FALSE(row.source.empty());
    EXPECT_TRUE(make_policy(row.name).has_value());
    std::set<std::string_view> params;
    for (const ParamSpec& spec : row.params) {
      EXPECT_TRUE(params.insert(spec.name).second) << spec.name;
      EXPECT_FALSE(spec.help.empty()) << spec.name;
      EXPECT_LE(spec.min, spec.default_value) << spec.name;
      EXPECT_GE(spec.max, spec.default_value) << spec.name;
      EXPECT_TRUE(make_policy(row.name, {{std::string(spec.name), spec.min}}).has_value())
          << spec.name;
      EXPECT_TRUE(make_policy(row.name, {{std::string(spec.name), spec.max}}).has_value())
          << spec.name;
    }
  }
}

TEST(Catalog, AnUnknownNameListsAllAndSuggestsTheNearest) {
  const std::string message = error_of("lmetrik");
  EXPECT_THAT(message, HasSubstr("unknown policy \"lmetrik\""));
  EXPECT_THAT(message, HasSubstr("did you mean \"lmetric\"?"));
  for (const CatalogRow& row : catalog()) EXPECT_THAT(message, HasSubstr(std::string(row.name)));
  EXPECT_THAT(error_of("completely-else"), Not(HasSubstr("did you mean")));
  EXPECT_EQ(make_policy("lmetrik").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(error_of(""), HasSubstr("Known:"));
  // A client may send anything as a name.
  EXPECT_LT(error_of(std::string(1 << 20, 'x')).size(), 2000u);
}

TEST(Catalog, DriversAddTheirOwnRows) {
  const std::string_view extra[] = {"oracle"};
  EXPECT_THAT(unknown_policy_message("oracel", extra), HasSubstr("did you mean \"oracle\"?"));
}

TEST(Catalog, ParametersInTheText) {
  EXPECT_TRUE(make_policy("prefix-cache:abs=16,factor=2").has_value());
  EXPECT_TRUE(make_policy("prefix-cache:").has_value());
  EXPECT_TRUE(make_policy("prefix-cache", {{"abs", 16}}).has_value());
  EXPECT_THAT(error_of("prefix-cache:abz=16"),
              HasSubstr("did you mean \"abs\"? It takes: abs, factor"));
  EXPECT_THAT(error_of("prefix-cache", {{"nonsense-parameter", 1}}),
              HasSubstr("It takes: abs, factor"));
  EXPECT_THAT(error_of("random:seed=1"), HasSubstr("takes no parameters"));
  EXPECT_THAT(error_of("prefix-cache:abs"), HasSubstr("key=value"));
  EXPECT_THAT(error_of("prefix-cache:=3"), HasSubstr("key=value"));
  EXPECT_THAT(error_of("prefix-cache:abs=8,"), "");
  EXPECT_THAT(error_of("prefix-cache:abs=8,abs=9"), HasSubstr("given twice"));
  for (const char* number : {"", "x", "8x", " 8", "1e", "0x10"})
    EXPECT_THAT(error_of("prefix-cache:abs=" + std::string(number)), HasSubstr("is not a number"))
        << number;
  for (const char* number : {"-1", "inf", "nan", "1e300"})
    EXPECT_THAT(error_of("prefix-cache:abs=" + std::string(number)), HasSubstr("out of range"))
        << number;
  EXPECT_THAT(error_of("prefix-cache", {{"abs", std::nan("")}}), HasSubstr("out of range"));
}

TEST(Catalog, TextBeatsParamsBeatsDefaults) {
  // In a fleet with loads 9 and 0 the gate of 8 sends to the idle one, a gate of 20 does not.
  EXPECT_FALSE(error_of("prefix-cache:abs=-1", {{"abs", 5}}).empty())
      << "the text's value is the one judged";
  EXPECT_TRUE(error_of("prefix-cache:abs=5", {{"abs", -1}}).empty());
}

TEST(Catalog, PoliciesSplitAtEveryCommaAreRejoined) {
  const std::string pieces[] = {"lmetric", "prefix-cache:abs=1", "factor=2", "random",
                                "llm-d:kv=1"};
  EXPECT_EQ(
      rejoin_policies(pieces),
      (std::vector<std::string>{"lmetric", "prefix-cache:abs=1,factor=2", "random", "llm-d:kv=1"}));
  const std::string lone[] = {"x=1"};
  EXPECT_EQ(rejoin_policies(lone), (std::vector<std::string>{"x=1"}))
      << "make_policy says what is wrong";
}

}  // namespace
}  // namespace lodestar
