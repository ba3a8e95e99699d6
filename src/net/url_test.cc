// SPDX-License-Identifier: Apache-2.0
#include "net/url.h"

#include <gtest/gtest.h>

#include <string>

namespace lodestar::net {
namespace {

TEST(ParseUrl, Forms) {
  struct Row {
    const char *text, *authority, *base;
  };
  for (const Row& row :
       {Row{"http://host:8000", "host:8000", ""},
        Row{"HTTP://Host.Example/", "host.example:80", ""}, Row{"host:8000", "host:8000", ""},
        Row{"10.0.0.7", "10.0.0.7:80", ""}, Row{"http://h:1/v1/", "h:1", "/v1"},
        Row{"http://h:65535/a/b//", "h:65535", "/a/b"},
        Row{"http://[::1]:8080/x", "[::1]:8080", "/x"},
        Row{"http://[FE80::1]", "[fe80::1]:80", ""}}) {
    const auto url = parse_url(row.text);
    ASSERT_TRUE(url) << row.text << " " << url.error().message;
    EXPECT_EQ(url->authority(), row.authority);
    EXPECT_EQ(url->base_path, row.base);
  }
}

TEST(ParseUrl, ErrorsSayWhatIsWrong) {
  struct Row {
    const char *text, *part;
  };
  for (const Row& row :
       {Row{"https://h", "https is not supported yet"}, Row{"ftp://h", "unknown scheme"},
        Row{"", "host is missing"}, Row{"http://:80", "host is missing"}, Row{"http://h:0", "port"},
        Row{"http://h:65536", "port"}, Row{"http://h:", "port"}, Row{"http://h:80x", "port"},
        Row{"http://h:-1", "port"}, Row{"http://u:p@h", "user names"}, Row{"http://h/?q", "query"},
        Row{"http://h/#f", "fragment"}, Row{"http://h h", "space"},
        Row{"http://h\r\nX: y", "space"}, Row{"http://[::1", "not closed"},
        Row{"http://[zz]", "IPv6"}, Row{"http://[::1]x", "after ]"}, Row{"http://a:b:c", "port"},
        Row{"http://h%00", "cannot stand"}}) {
    const auto url = parse_url(row.text);
    ASSERT_FALSE(url) << row.text;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(url.error().message.find(row.part), std::string::npos) << url.error().message;
    EXPECT_NE(url.error().message.find("expected http://host:port"), std::string::npos);
  }
}

}  // namespace
}  // namespace lodestar::net
