// SPDX-License-Identifier: Apache-2.0
#include "config/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/docs.h"

namespace lodestar::config {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

enum class Color { kRed, kGreen };

struct Part {
  std::int32_t size = 3;
  std::string label;
};

struct Thing {
  bool on = false;
  std::int64_t count = 7;
  std::uint64_t seed = 1;
  double ratio = 0.5;
  std::string name = "none";
  std::optional<double> limit;
  std::vector<double> steps;
  Color color = Color::kRed;
  Part part;
  std::optional<Part> spare;
  std::vector<Part> parts;
  std::string either;
};

Schema<Part> part_schema() {
  return Schema<Part>("part")
      .field("size", &Part::size, {.min = 1, .max = 9, .help = "How big."})
      .field("label", &Part::label, {.required = true, .min = 1});
}

Schema<Thing> thing_schema() {
  return Schema<Thing>("thing")
      .field("on", &Thing::on)
      .field("count", &Thing::count, {.min = 0, .unit = "pieces", .reload = Reload::kHot})
      .field("seed", &Thing::seed)
      .field("ratio", &Thing::ratio, {.min = 0, .max = 1, .above_min = true, .help = "a | b"})
      .field("name", &Thing::name)
      .field("limit", &Thing::limit, {.min = 0})
      .field("steps", &Thing::steps, {.min = 1})
      .choice("color", &Thing::color, {{"red", Color::kRed}, {"green", Color::kGreen}})
      .section("part", &Thing::part, part_schema())
      .section("spare", &Thing::spare, part_schema())
      .list("parts", &Thing::parts, part_schema())
      .custom("either", "word or mapping",
              [](const Node& node, const std::string& path, Thing& out) -> Result<void> {
                if (node.kind != Node::Kind::kScalar) return fail_at(node, path, "expected a word");
                out.either = node.scalar;
                return {};
              })
      .check(
          [](const Thing& t) { return t.count > 100 && !t.on ? "count above 100 needs on" : ""; });
}

Result<Thing> parse(const std::string& text) {
  auto node = parse_yaml(text, "f.yaml");
  if (!node) return std::unexpected(node.error());
  Thing thing;
  if (auto ok = thing_schema().parse(*node, thing); !ok) return std::unexpected(ok.error());
  return thing;
}

std::string error_of(const std::string& text) {
  auto thing = parse(text);
  return thing ? "no error" : thing.error().message;
}

TEST(Schema, ReadsEveryType) {
  auto thing = parse(R"(
on: true
count: 1e3
seed: 18446744073709551615
ratio: .25
name: "a b"
limit: 4
steps: [1, 2.5]
color: green
part: {size: 2, label: x}
spare: {label: y}
parts: [{label: p}, {label: q, size: 9}]
either: or
)");
  ASSERT_TRUE(thing) << thing.error().message;
  EXPECT_TRUE(thing->on);
  EXPECT_EQ(thing->count, 1000);
  EXPECT_EQ(thing->seed, 18446744073709551615ULL);
  EXPECT_EQ(thing->ratio, 0.25);
  EXPECT_EQ(thing->name, "a b");
  EXPECT_EQ(thing->limit, 4.0);
  EXPECT_THAT(thing->steps, testing::ElementsAre(1, 2.5));
  EXPECT_EQ(thing->color, Color::kGreen);
  EXPECT_EQ(thing->part.size, 2);
  ASSERT_TRUE(thing->spare);
  EXPECT_EQ(thing->spare->label, "y");
  EXPECT_EQ(thing->spare->size, 3);
  ASSERT_EQ(thing->parts.size(), 2u);
  EXPECT_EQ(thing->parts[1].size, 9);
  EXPECT_EQ(thing->either, "or");
}

TEST(Schema, AbsentKeysKeepDefaults) {
  auto thing = parse("{}");
  ASSERT_TRUE(thing);
  EXPECT_EQ(thing->count, 7);
  EXPECT_FALSE(thing->limit);
  EXPECT_FALSE(thing->spare);
}

TEST(Schema, UnknownKeyNamesNearestWithLine) {
  EXPECT_THAT(error_of("on: true\ncuont: 3\n"), AllOf(HasSubstr("f.yaml:2"), HasSubstr("\"cuont\""),
                                                      HasSubstr("did you mean \"count\"")));
  EXPECT_THAT(error_of("parts:\n - label: a\n - label: b\n   sise: 3\n"),
              AllOf(HasSubstr("f.yaml:4: parts[1]"), HasSubstr("did you mean \"size\"")));
  EXPECT_THAT(error_of("zzzzzzzzzzz: 3\n"),
              AllOf(HasSubstr("known keys of thing"), HasSubstr("ratio")));
}

TEST(Schema, SaysWhatIsExpected) {
  EXPECT_THAT(error_of("count: many"),
              AllOf(HasSubstr("f.yaml:1: count"), HasSubstr("an integer >= 0"),
                    HasSubstr("(pieces)"), HasSubstr("\"many\"")));
  EXPECT_THAT(error_of("count: 1.5"), HasSubstr("an integer"));
  EXPECT_THAT(error_of("count: -1"), HasSubstr(">= 0"));
  EXPECT_THAT(error_of("count: 99999999999999999999"), HasSubstr("an integer"));
  EXPECT_THAT(error_of("seed: -1"), HasSubstr("an integer"));
  EXPECT_THAT(error_of("count:"), HasSubstr("got nothing"));
  EXPECT_THAT(error_of("count: [1]"), HasSubstr("got a list"));
  EXPECT_THAT(error_of("ratio: 0"), HasSubstr("> 0 and <= 1"));
  EXPECT_THAT(error_of("ratio: .inf"), HasSubstr("a number"));
  EXPECT_THAT(error_of("ratio: nan"), HasSubstr("a number"));
  EXPECT_THAT(error_of("on: yes"), HasSubstr("true or false"));
  EXPECT_THAT(error_of("name: {a: 1}"), HasSubstr("text"));
  EXPECT_THAT(error_of("color: blue"), HasSubstr("one of red, green"));
  EXPECT_THAT(error_of("steps: 3"), HasSubstr("expected a list"));
  EXPECT_THAT(error_of("steps: [2, 0]"), HasSubstr("steps[1]"));
  EXPECT_THAT(error_of("part: 3"),
              AllOf(HasSubstr("expected a mapping"), HasSubstr("size, label")));
  EXPECT_THAT(error_of("part: {size: 3}"), HasSubstr("\"label\" is missing"));
  EXPECT_THAT(error_of("count: 101"), HasSubstr("needs on"));
  EXPECT_THAT(error_of("- 1"), HasSubstr("expected a mapping"));
}

TEST(Yaml, RefusesWhatCannotBeMeant) {
  EXPECT_THAT(error_of("count: 1\ncount: 2\n"),
              AllOf(HasSubstr("f.yaml:2"), HasSubstr("given twice")));
  EXPECT_THAT(error_of("a: [1, 2"), HasSubstr("not valid YAML"));
  EXPECT_THAT(error_of("a: *nowhere"), HasSubstr("not valid YAML"));
  EXPECT_THAT(error_of("on: true\n---\non: false\n"), HasSubstr("one YAML document"));
  EXPECT_THAT(error_of("? [a]\n: 1\n"), HasSubstr("key must be a plain word"));
  EXPECT_THAT(error_of(", 1\n"), HasSubstr("goes on after its end"));
  EXPECT_THAT(error_of("a: &x [1, *x]"), HasSubstr("inside its own anchor"));
  EXPECT_THAT(error_of(std::string(200, '[') + std::string(200, ']')), HasSubstr("nested deeper"));
}

TEST(Yaml, AliasesCannotExpandWithoutBound) {
  std::string bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j ? ",*a" : "*a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(error_of(bomb), HasSubstr("more than 200000 values"));
}

TEST(Yaml, AliasesStandForWhatTheyName) {
  auto node = parse_yaml("base: &b {size: 2, label: x}\nagain: *b\nlist: [*b, *b]\nnone: ~\n", "f");
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->find("again")->find("label")->scalar, "x");
  EXPECT_EQ(node->find("list")->items[1].find("size")->scalar, "2");
  EXPECT_EQ(node->find("none")->kind, Node::Kind::kNull);
  EXPECT_EQ(node->find("list")->line, 3);
}

TEST(Yaml, EmptyTextIsNothing) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n"}) {
    auto node = parse_yaml(text, "f");
    ASSERT_TRUE(node) << text;
    EXPECT_EQ(node->kind, Node::Kind::kNull) << text;
  }
}

TEST(Yaml, MissingFileSaysSo) {
  auto text = read_yaml_text("tests/no-such-file.yaml");
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().message,
              AllOf(HasSubstr("no-such-file.yaml"), HasSubstr("cannot be read")));
  EXPECT_FALSE(read_yaml_text("tests"));
}

TEST(Nearest, IsNearOrNothing) {
  EXPECT_EQ(nearest("rate_rsp", {"kind", "rate_rps", "cv"}), "rate_rps");
  EXPECT_EQ(nearest("completely_else", {"kind", "rate_rps", "cv"}), "");
}

TEST(Docs, MarkdownNamesEveryKeyWithDefaultBoundsAndUnit) {
  const std::string text = to_markdown(thing_schema());
  for (const FieldInfo& field : thing_schema().fields())
    EXPECT_THAT(text, HasSubstr("`" + field.name + "`"));
  EXPECT_THAT(text, HasSubstr("| `count` | integer | `7` | ≥ 0 pieces | live |"));
  EXPECT_THAT(text, HasSubstr("a \\| b"));
  EXPECT_THAT(text, HasSubstr("`parts[]`"));
  EXPECT_THAT(text, HasSubstr("**required**"));
}

TEST(Docs, JsonSchemaIsClosedAndTyped) {
  const std::string text = to_json_schema(thing_schema());
  EXPECT_THAT(text, HasSubstr("\"additionalProperties\": false"));
  EXPECT_THAT(text, HasSubstr("\"count\": {\"type\": \"integer\", \"minimum\": 0"));
  EXPECT_THAT(text, HasSubstr("\"exclusiveMinimum\": 0"));
  EXPECT_THAT(text, HasSubstr("\"enum\": [\"red\", \"green\"]"));
  EXPECT_THAT(text, HasSubstr("\"required\": [\"label\"]"));
  auto node = parse_yaml(text, "schema");  // JSON is YAML: at least it is well-formed
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->find("properties")->items.size(), thing_schema().fields().size());
}

}  // namespace
}  // namespace lodestar::config
