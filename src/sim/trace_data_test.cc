// SPDX-License-Identifier: Apache-2.0
#include "sim/trace_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>

#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const std::string& text, TraceFormat format) {
  auto trace = parse_trace(text, "t", format);
  return trace ? "no error" : trace.error().message;
}

TEST(TraceLines, EveryKindOfLineEnd) {
  LineSource lines = LineSource::of_text(
      "\xef\xbb\xbf"
      "a\r\n\nb",
      "t");
  std::string_view line;
  EXPECT_TRUE(*lines.next(line));
  EXPECT_EQ(line, "a");
  EXPECT_TRUE(*lines.next(line));
  EXPECT_EQ(line, "");
  EXPECT_TRUE(*lines.next(line));
  EXPECT_EQ(line, "b");
  EXPECT_EQ(lines.line_number(), 3u);
  EXPECT_FALSE(*lines.next(line));
}

TEST(TraceLines, PlainAndCompressedFilesReadTheSame) {
  std::string text;
  for (int i = 0; i < 30000; ++i)
    text += "line " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 50), 'x') + "\n";
  const std::string path = testing::TempDir() + "lodestar_lines";
  for (bool packed : {false, true}) {
    gzFile file = gzopen(path.c_str(), packed ? "wb" : "wbT");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
              static_cast<int>(text.size()));
    gzclose(file);
    auto lines = LineSource::open(path);
    ASSERT_TRUE(lines);
    std::string back;
    std::string_view line;
    for (;;) {
      auto more = lines->next(line);
      ASSERT_TRUE(more);
      if (!*more) break;
      back += std::string(line) + "\n";
    }
    EXPECT_EQ(back, text);
  }
  std::remove(path.c_str());
}

TEST(TraceLines, DamagedCompressionIsAnError) {
  const std::string path = testing::TempDir() + "lodestar_damaged.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  std::string noise;
  for (unsigned i = 0; i < 100000; ++i)
    noise += static_cast<char>('a' + ((i * i * 2654435761u) >> 20) % 26);
  gzwrite(file, noise.data(), static_cast<unsigned>(noise.size()));
  gzclose(file);
  std::FILE* raw = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(raw, nullptr);
  std::fseek(raw, 0, SEEK_END);
  std::fseek(raw, std::ftell(raw) / 2, SEEK_SET);
  std::fputs("broken here", raw);
  std::fclose(raw);
  auto lines = LineSource::open(path);
  ASSERT_TRUE(lines);
  std::string_view line;
  Result<bool> more = true;
  while (more && *more) more = lines->next(line);
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("cannot be read further"));
  std::remove(path.c_str());
}

TEST(TraceLines, MissingFile) {
  auto trace = load_trace("tests/no-such-trace.jsonl.gz", TraceFormat::kMooncake);
  ASSERT_FALSE(trace);
  EXPECT_THAT(trace.error().message,
              AllOf(HasSubstr("no-such-trace"), HasSubstr("cannot be opened")));
}

constexpr const char* kMooncakeRow =
    R"({"timestamp": 3000, "input_length": 1100, "output_length": 5, )"
    R"("hash_ids": [900, 901, 7], "kind": "C"})";

TEST(Mooncake, ReadsRowsAndRuns) {
  auto trace = parse_trace(
      std::string(
          R"({"timestamp":1000.5,"input_length":600,"output_length":0,"hash_ids":[900,901]})") +
          "\n\n" + kMooncakeRow + "\n",
      "t", TraceFormat::kMooncake);
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ((*trace)->rows.size(), 2u);
  const TraceRow& first = (*trace)->rows[0];
  const TraceRow& second = (*trace)->rows[1];
  EXPECT_EQ(first.timestamp, 0);
  EXPECT_EQ(second.timestamp, from_ms(1999.5));
  EXPECT_EQ(first.output_tokens, 1);  // 0 is replayed as 1
  EXPECT_EQ(second.input_tokens, 1100);
  // 900, 901 are 0, 1 and one run; 7 is 2 and continues it.
  ASSERT_EQ(second.runs_end - second.runs_begin, 1u);
  EXPECT_EQ((*trace)->runs[second.runs_begin].first, 0u);
  EXPECT_EQ((*trace)->runs[second.runs_begin].count, 3);
}

TEST(Mooncake, AnyIntegerIsAnId) {
  auto trace = parse_trace(R"({"timestamp":0,"input_length":9,"output_length":1,)"
                           R"("hash_ids":[18446744073709551615,-1,-5,0]})",
                           "t", TraceFormat::kMooncake);
  ASSERT_TRUE(trace);
  // -1 is the same 64-bit value as the first id: 0, 0, 1, 2.
  ASSERT_EQ((*trace)->runs.size(), 2u);
  EXPECT_EQ((*trace)->runs[1].count, 3);
}

TEST(Mooncake, RowsComeInTimeOrder) {
  auto trace = parse_trace(
      "{\"timestamp\":9,\"input_length\":1,\"output_length\":1,\"hash_ids\":[]}\n"
      "{\"timestamp\":4,\"input_length\":2,\"output_length\":1,\"hash_ids\":[]}\n",
      "t", TraceFormat::kMooncake);
  ASSERT_TRUE(trace);
  EXPECT_EQ((*trace)->rows[0].input_tokens, 2);
  EXPECT_EQ((*trace)->rows[1].timestamp, from_ms(5));
}

TEST(Mooncake, MalformedRowsNameTheirLine) {
  const auto after_good = [](const std::string& row) {
    return error_of(std::string(kMooncakeRow) + "\n" + row, TraceFormat::kMooncake);
  };
  EXPECT_THAT(after_good("{\"timestamp\": 1,"),
              AllOf(HasSubstr("t:2:"), HasSubstr("one JSON object")));
  EXPECT_THAT(after_good("[1]"), HasSubstr("one JSON object"));
  EXPECT_THAT(after_good("{}"), HasSubstr("timestamp"));
  EXPECT_THAT(after_good(R"({"timestamp":-1,"input_length":1,"output_length":1,"hash_ids":[]})"),
              HasSubstr("timestamp"));
  EXPECT_THAT(after_good(R"({"timestamp":1e99,"input_length":1,"output_length":1,"hash_ids":[]})"),
              HasSubstr("timestamp"));
  EXPECT_THAT(after_good(R"({"timestamp":0,"input_length":-1,"output_length":1,"hash_ids":[]})"),
              HasSubstr("input_length"));
  EXPECT_THAT(after_good(R"({"timestamp":0,"input_length":1,"output_length":"x","hash_ids":[]})"),
              HasSubstr("output_length"));
  EXPECT_THAT(after_good(R"({"timestamp":0,"input_length":1,"output_length":1})"),
              HasSubstr("hash_ids"));
  EXPECT_THAT(after_good(R"({"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[1.5]})"),
              HasSubstr("integers"));
  EXPECT_THAT(error_of("", TraceFormat::kMooncake), HasSubstr("no requests"));
}

TEST(Azure, ReadsAnyColumnOrder) {
  auto trace = parse_trace(
      "GeneratedTokens,TIMESTAMP,Extra,ContextTokens\r\n"
      "44,2023-11-16 18:15:46.6805900,x,374\r\n"
      "0,2023-11-16 18:15:50.9951690,x,396\r\n",
      "t", TraceFormat::kAzure);
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ((*trace)->rows[0].input_tokens, 374);
  EXPECT_EQ((*trace)->rows[0].output_tokens, 44);
  EXPECT_EQ((*trace)->rows[1].timestamp, 4'314'579'000);
  EXPECT_EQ((*trace)->rows[1].output_tokens, 1);
}

TEST(Azure, Timestamps) {
  EXPECT_EQ(*parse_timestamp("1970-01-01 00:00:00"), 0);
  EXPECT_EQ(*parse_timestamp("2000-03-01T00:00:00.5Z"), 951868800'500000000);
  EXPECT_EQ(*parse_timestamp("2024-05-10 00:00:00.009930+00:00"), 1715299200'009930000);
  EXPECT_EQ(*parse_timestamp("2024-02-29 12:00:00+02:00"), 1709200800'000000000);
  for (const char* bad : {"", "2024", "2024-13-01 00:00:00", "2024-01-01", "2024-01-01 25:00:00",
                          "2024-01-01 00:00:00.", "2024-01-01 00:00:00 x", "2024-01-01 00:00:00+1"})
    EXPECT_FALSE(parse_timestamp(bad)) << bad;
}

TEST(Azure, MalformedRowsNameTheirLine) {
  const std::string head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  EXPECT_THAT(error_of("a,b\n1,2\n", TraceFormat::kAzure),
              AllOf(HasSubstr("t:1"), HasSubstr("header")));
  EXPECT_THAT(error_of(head + "2023-11-16 18:15:46,1\n", TraceFormat::kAzure),
              HasSubstr("3 cells"));
  EXPECT_THAT(error_of(head + "yesterday,1,2\n", TraceFormat::kAzure),
              AllOf(HasSubstr("t:2"), HasSubstr("TIMESTAMP")));
  EXPECT_THAT(error_of(head + "2023-11-16 18:15:46,1,-2\n", TraceFormat::kAzure),
              HasSubstr("GeneratedTokens"));
  EXPECT_THAT(error_of(head + "2023-11-16 18:15:46,1e3,2\n", TraceFormat::kAzure),
              HasSubstr("ContextTokens"));
  EXPECT_THAT(error_of(head, TraceFormat::kAzure), HasSubstr("no requests"));
}

constexpr const char* kSession =
    R"({"id":"s","block_size":64,"tool_tokens":100,"system_tokens":60,"req":[)"
    R"([0,300,10,0,2.5,"big",0,-1,0,[[1,4]]],[5,400,10,3,1,"big",0,0,3,[[9,1],[10,2]]],)"
    R"([9,70,0,null,null,"small",1,-1,0,[[50,1]]]]})";

TEST(KvCacheTester, DecodesBlocksAgainstTheBase) {
  auto trace = parse_trace(kSession, "t", TraceFormat::kKvCacheTester);
  ASSERT_TRUE(trace) << trace.error().message;
  const Trace& t = **trace;
  ASSERT_EQ(t.sessions.size(), 1u);
  EXPECT_EQ(t.sessions[0].common_tokens, 160);
  EXPECT_EQ(t.block_tokens, 64);
  ASSERT_EQ(t.rows.size(), 3u);
  // 1, 2, 3 kept, then 9 and 10, 11, which are one run.
  ASSERT_EQ(t.rows[1].runs_end - t.rows[1].runs_begin, 2u);
  EXPECT_EQ(t.runs[t.rows[1].runs_begin].count, 3);
  EXPECT_EQ(t.runs[t.rows[1].runs_begin + 1].first, 9u);
  EXPECT_EQ(t.runs[t.rows[1].runs_begin + 1].count, 3);
  EXPECT_EQ(t.rows[1].think, from_s(3));
  EXPECT_EQ(t.rows[2].think, -1);
  EXPECT_EQ(t.rows[2].depth, 1u);
  EXPECT_EQ(t.rows[2].output_tokens, 1);
  EXPECT_THAT(t.served_models, testing::ElementsAre("big", "small"));
}

TEST(KvCacheTester, MalformedSessionsNameLineAndRequest) {
  const auto with = [](const std::string& requests) {
    return error_of(
        R"({"id":"s","block_size":64,"tool_tokens":0,"system_tokens":0,"req":[)" + requests + "]}",
        TraceFormat::kKvCacheTester);
  };
  EXPECT_THAT(with(R"([0,300,10,0,2.5,"m",0,-1,0,[[1,4]]],[0])"),
              AllOf(HasSubstr("t:1: request 1"), HasSubstr("list of 10")));
  EXPECT_THAT(with(R"([0,300,10,0,2.5,"m",0,0,0,[[1,4]]])"), HasSubstr("base request"));
  EXPECT_THAT(with(R"([0,300,10,0,2.5,"m",0,-1,2,[[1,4]]])"), HasSubstr("keeps 2 blocks"));
  EXPECT_THAT(with(R"([0,300,10,0,2.5,"m",0,-1,0,[[1,5]]])"), HasSubstr("more than its 300"));
  EXPECT_THAT(with(R"([0,300,10,0,2.5,"m",0,-1,0,[[1]]])"), HasSubstr("run must be"));
  EXPECT_THAT(with(R"([0,300,10,-2,2.5,"m",0,-1,0,[]])"), HasSubstr("think_time"));
  EXPECT_THAT(with(R"([0,300,10,0,2.5,7,0,-1,0,[]])"), HasSubstr("model"));
  EXPECT_THAT(with(""), HasSubstr("list of requests"));
  EXPECT_THAT(error_of("{}", TraceFormat::kKvCacheTester), HasSubstr("block_size"));
  EXPECT_THAT(error_of("nonsense", TraceFormat::kKvCacheTester), HasSubstr("one JSON object"));
}

}  // namespace
}  // namespace lodestar::sim
