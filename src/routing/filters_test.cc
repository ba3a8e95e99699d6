// SPDX-License-Identifier: Apache-2.0
#include "routing/filters.h"

#include <gtest/gtest.h>

#include <set>

namespace lodestar {
namespace {

RequestInfo request() {
  RequestInfo r;
  r.served_model = "llama";
  r.prompt_tokens = 900;
  r.block_tokens = 16;
  return r;
}
InstanceState instance() {
  InstanceState s;
  s.present = true;
  s.info.served_models = {"llama", "qwen"};
  s.info.adapters = {"sql"};
  s.info.max_model_len = 1000;
  return s;
}

TEST(Filters, ACandidate) { EXPECT_EQ(exclusion(request(), instance()), Exclusion::kNone); }

TEST(Filters, ServedModel) {
  RequestInfo r = request();
  r.served_model = "mixtral";
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kWrongModel);
  InstanceState any = instance();
  any.info.served_models.clear();
  EXPECT_EQ(exclusion(r, any), Exclusion::kNone) << "an empty list serves any";
}

TEST(Filters, Adapter) {
  RequestInfo r = request();
  r.adapter = "sql";
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kNone);
  r.adapter = "chat";
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kNoAdapter);
}

TEST(Filters, Health) {
  InstanceState s = instance();
  s.health = Health::kUnhealthy;
  EXPECT_EQ(exclusion(request(), s), Exclusion::kUnhealthy);
  s.health = Health::kDraining;
  EXPECT_EQ(exclusion(request(), s), Exclusion::kDraining);
}

// An estimate may be wrong, so only an exact count may refuse a request.
TEST(Filters, OnlyAnExactLengthExcludes) {
  RequestInfo r = request();
  r.prompt_tokens = 1001;
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kTooLong);
  r.prompt_tokens_error = 0.1;
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kNone);
  r = request();
  r.prompt_tokens = 1001;
  r.block_tokens = 0;  // the live view counts bytes
  EXPECT_EQ(exclusion(r, instance()), Exclusion::kNone);
  InstanceState unlimited = instance();
  unlimited.info.max_model_len = 0;
  r = request();
  r.prompt_tokens = 1e9;
  EXPECT_EQ(exclusion(r, unlimited), Exclusion::kNone);
}

TEST(Filters, EveryReasonHasItsOwnText) {
  std::set<std::string_view> texts;
  for (Exclusion why :
       {Exclusion::kNone, Exclusion::kWrongModel, Exclusion::kNoAdapter, Exclusion::kUnhealthy,
        Exclusion::kDraining, Exclusion::kTooLong, Exclusion::kTried})
    texts.insert(exclusion_text(why));
  EXPECT_EQ(texts.size(), 7u);
  EXPECT_FALSE(texts.contains("?"));
}

}  // namespace
}  // namespace lodestar
