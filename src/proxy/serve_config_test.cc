// SPDX-License-Identifier: Apache-2.0
#include "proxy/serve_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lodestar::proxy {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& text) {
  auto c = parse_serve_config(text, "f.yaml");
  return c ? "" : c.error().message;
}

TEST(ServeConfig, ReadsAFullFile) {
  auto c = parse_serve_config(R"(
listen: :9090
engines:
  - {url: "http://a:8000", name: one, hardware: A30, served_models: [m], prefill_tokens_per_s: 9000}
  - url: b:8001
policy: lmetric
policies: {big: prefix-cache, "x/y": random}
scrape_period_ms: 50
hash_key: secret
limits: {max_inflight: 5}
timeouts: {connect_ms: 100, request_ms: 0}
journal: {path: j.jsonl, files: 2}
learning: {state_file: s.bin, save_every_s: 5}
)",
                              "f.yaml");
  ASSERT_TRUE(c) << c.error().message;
  auto targets = engine_targets(*c);
  ASSERT_TRUE(targets);
  EXPECT_EQ((*targets)[0].name, "one");
  EXPECT_EQ((*targets)[1].name, "b:8001");
  EXPECT_EQ((*targets)[1].id, InstanceId{2});
  EXPECT_EQ(c->policies.at("x/y"), "random");
  EXPECT_EQ(c->learning.state_file, "s.bin");
  EXPECT_EQ(c->learning.save_every_s, 5);
  const ProxyOptions o = proxy_options(*c, hash_key_of(*c, {}));
  EXPECT_EQ(o.max_inflight, 5u);
  EXPECT_EQ(o.upstream.connect_timeout, 100 * kMillisecond);
  EXPECT_NE(o.parse.hash_key.k0, 0u);
  EXPECT_EQ(monitor_options(*c).scrape_period, 50 * kMillisecond);
  EXPECT_EQ(parse_listen(c->listen)->address, "0.0.0.0");
}

TEST(ServeConfig, ErrorsSayWhatAndWhere) {
  EXPECT_THAT(error_of("listen: 127.0.0.1:1\n"), HasSubstr("engines"));
  EXPECT_THAT(error_of("engines: []\n"), HasSubstr("at least one engine"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\npolicie: x\n"), HasSubstr("policies"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\nscrape_period_ms: 1\n"), HasSubstr("f.yaml:2"));
  EXPECT_THAT(error_of("engines: [{url: a:1}, {url: a:1}]\n"), HasSubstr("twice"));
  EXPECT_THAT(error_of("engines: [{url: 'https://a:1'}]\n"), HasSubstr("https"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\nlearning: {save_every_s: 0}\n"),
              HasSubstr("save_every_s"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\nlisten: nowhere\n"), HasSubstr("host:port"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\npolicies: [a]\n"), HasSubstr("mapping"));
  EXPECT_THAT(error_of("engines: [{url: a:1}]\nhash_block_bytes: 30\n"),
              HasSubstr("multiple of 4"));
}

TEST(ServeConfig, ListenAddresses) {
  EXPECT_EQ(parse_listen("localhost:80")->address, "127.0.0.1");
  EXPECT_EQ(parse_listen("[::1]:80")->address, "::1");
  EXPECT_TRUE(parse_listen("[::1]:80")->loopback());
  EXPECT_TRUE(parse_listen("127.0.0.1:0")->loopback());
  EXPECT_FALSE(parse_listen(":80")->loopback());
  for (const char* bad : {"", "80", "::1:80", "host:", "host:70000", "host:8x"})
    EXPECT_FALSE(parse_listen(bad)) << bad;
}

TEST(ServeConfig, TheKeyDependsOnTheSecretOnly) {
  ServeConfig a, b;
  EXPECT_EQ(hash_key_of(a, {5, 6}).k1, 6u);
  a.hash_key = b.hash_key = "s";
  EXPECT_EQ(hash_key_of(a, {1, 1}).k0, hash_key_of(b, {2, 2}).k0);
  b.hash_key = "t";
  EXPECT_NE(hash_key_of(a, {}).k0, hash_key_of(b, {}).k0);
}

}  // namespace
}  // namespace lodestar::proxy
