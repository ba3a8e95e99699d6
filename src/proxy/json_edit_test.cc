// SPDX-License-Identifier: Apache-2.0
#include "proxy/json_edit.h"

#include <gtest/gtest.h>

namespace lodestar::proxy {
namespace {

std::string edit(std::string_view object, const std::vector<JsonEdit>& edits) {
  auto out = edit_json(object, edits);
  return out ? *out : "error: " + out.error().message;
}

TEST(JsonEdit, ReplacesAddsAndRemoves) {
  EXPECT_EQ(edit(R"({"a":1, "b" : "x,}" ,"c":[1,{"a":2}]})", {{"a", "7"}}),
            R"({"a":7,"b" : "x,}","c":[1,{"a":2}]})");
  EXPECT_EQ(edit(R"({"a":1})", {{"b", "true"}}), R"({"a":1,"b":true})");
  EXPECT_EQ(edit("{ }", {{"b", "true"}}), R"({"b":true})");
  EXPECT_EQ(edit(R"({"a":1,"b":2})", {{"a", ""}}), R"({"b":2})");
  EXPECT_EQ(edit(R"({"a":1})", {{"b", "1", true}}), R"({"a":1})");
}

TEST(JsonEdit, LooksOnlyAtTheTopLevel) {
  EXPECT_EQ(edit(R"({"p":"\"max_tokens\":5,","q":{"max_tokens":6}})", {{"max_tokens", "1"}}),
            R"({"p":"\"max_tokens\":5,","q":{"max_tokens":6},"max_tokens":1})");
}

TEST(JsonEdit, EscapedAndRepeatedKeysAreFound) {
  EXPECT_EQ(edit(R"({"str\u0065am":true,"stream":true})", {{"stream", "false"}}),
            R"({"stream":false,"stream":false})");
  EXPECT_EQ(edit(R"({"str\neam":true})", {{"stream", "false"}}),
            R"({"str\neam":true,"stream":false})");
}

TEST(JsonEdit, BrokenTextIsAnError) {
  for (const char* text : {"", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"x",
                           "{\"a\":[1", "{\"a\":}", "{a:1}", "{\"a\":1 \"b\":2}"})
    EXPECT_FALSE(edit_json(text, {{"k", "1"}})) << text;
}

}  // namespace
}  // namespace lodestar::proxy
