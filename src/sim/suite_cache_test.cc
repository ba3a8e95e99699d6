// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace lodestar::sim {
namespace {

class SuiteCacheTest : public ::testing::Test {
 protected:
  SuiteCacheTest() {
    folder_ = ::testing::TempDir() + "suite_cache_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  ~SuiteCacheTest() override { std::filesystem::remove_all(folder_); }

  SuiteCache cache(std::uint64_t program) { return *SuiteCache::open(folder_, program); }
  static RunDigest digest(double ttft_mean_ms) {
    RunDigest d;
    d.ttft_mean_ms = ttft_mean_ms;
    return d;
  }

  std::string folder_;
  RunKey key_{"cluster x\n", "lmetric", 7};
};

using Found = SuiteCache::Found;

TEST_F(SuiteCacheTest, FindsExactlyTheSameRun) {
  const SuiteCache mine = cache(1);
  EXPECT_EQ(mine.load(key_, true).found, Found::kNo);
  ASSERT_TRUE(mine.store(key_, digest(12.5)).has_value());
  const auto entry = mine.load(key_, false);
  ASSERT_EQ(entry.found, Found::kYes);
  EXPECT_EQ(entry.digest.ttft_mean_ms, 12.5);
  for (const RunKey& other :
       {RunKey{"cluster y\n", "lmetric", 7}, RunKey{key_.content, "lmetric:a=1", 7},
        RunKey{key_.content, "lmetric", 8}})
    EXPECT_EQ(mine.load(other, true).found, Found::kNo);
}

TEST_F(SuiteCacheTest, AnotherProgramsRunOnlyWhenAllowed) {
  ASSERT_TRUE(cache(1).store(key_, digest(1)).has_value());
  EXPECT_EQ(cache(2).load(key_, false).found, Found::kNo);
  const auto entry = cache(2).load(key_, true);
  ASSERT_EQ(entry.found, Found::kYes);
  EXPECT_TRUE(entry.other_program);
  EXPECT_FALSE(cache(1).load(key_, true).other_program);
}

TEST_F(SuiteCacheTest, DamageIsSeen) {
  const SuiteCache mine = cache(1);
  ASSERT_TRUE(mine.store(key_, digest(12.5)).has_value());
  const std::string path = mine.path_of(key_);
  std::string bytes;
  {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  const auto rewrite = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    return mine.load(key_, false).found;
  };
  std::string flipped = bytes;
  flipped[bytes.size() - 3] ^= 1;
  EXPECT_EQ(rewrite(flipped), Found::kDamaged);
  EXPECT_EQ(rewrite(bytes.substr(0, bytes.size() - 1)), Found::kDamaged);
  EXPECT_EQ(rewrite(""), Found::kDamaged);
  EXPECT_EQ(rewrite("something else altogether, but long enough"), Found::kDamaged);
  EXPECT_EQ(rewrite(bytes), Found::kYes);
}

TEST_F(SuiteCacheTest, KeepsTheNewestProgramsOnly) {
  for (std::uint64_t program = 1; program <= 6; ++program) {
    const SuiteCache mine = cache(program);
    ASSERT_TRUE(mine.store(key_, digest(1)).has_value());
    // Clocks of files may be coarse; the order of writing must be plain.
    std::filesystem::last_write_time(
        mine.path_of(key_),
        std::filesystem::file_time_type::clock::now() - std::chrono::hours(10 - program));
  }
  std::size_t files = 0;
  const auto folder = std::filesystem::path(cache(1).path_of(key_)).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_EQ(entry.path().extension(), ".run");
    ++files;
  }
  EXPECT_EQ(files, SuiteCache::kPrograms);
  EXPECT_EQ(cache(6).load(key_, false).found, Found::kYes);
  EXPECT_EQ(cache(1).load(key_, false).found, Found::kNo);
}

TEST_F(SuiteCacheTest, AnUnusableFolderIsAnError) {
  std::ofstream(folder_) << "a file";
  const auto opened = SuiteCache::open(folder_ + "/below", 1);
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("--no-cache"), std::string::npos);
}

}  // namespace
}  // namespace lodestar::sim
