#include "ingest/tag_pattern.h"

namespace outlast::ingest {
namespace {
constexpr std::size_t kAlternativesMax = 256;
constexpr std::size_t kTagMax = 255;

Error wrong(std::string_view text, const std::string& what) {
  return {Errc::kInvalidArgument, "\"" + std::string(text) + "\" is no tag pattern: " + what +
                                      "; patterns look like app.*, app.** and {web,db}.log"};
}

/// Where the brace that `open` opens is closed.
std::size_t closing(std::string_view text, std::size_t open) {
  int depth = 0;
  for (std::size_t at = open; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) return at;
  }
  return std::string_view::npos;
}

std::vector<std::string_view> split_choices(std::string_view text) {
  std::vector<std::string_view> choices;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}') --depth;
    if (text[at] != ',' || depth != 0) continue;
    choices.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  choices.push_back(text.substr(begin));
  return choices;
}

/// The pattern without braces: one for each choice.
Result<void> expand(const std::string& text, std::vector<std::string>& out) {
  const auto open = text.find('{');
  if (open == std::string::npos) {
    if (text.contains('}')) return wrong(text, "a } has no {");
    if (out.size() >= kAlternativesMax) return wrong(text, "there are more than 256 alternatives");
    out.push_back(text);
    return {};
  }
  const auto close = closing(text, open);
  if (close == std::string_view::npos) return wrong(text, "a { has no }");
  const std::string choices = text.substr(open + 1, close - open - 1);
  for (const std::string_view choice : split_choices(choices))
    TRY(expand(text.substr(0, open) + std::string(choice) + text.substr(close + 1), out));
  return {};
}

template <class Part>
std::vector<Part> split(std::string_view text, char at) {
  std::vector<Part> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// `*` is any text.
bool matches_part(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, after = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool is_tag(std::string_view text) {
  bool good =
      !text.empty() && text.size() <= kTagMax && text.front() != '.' && text.back() != '.' && !text.contains("..");
  for (const char c : text)
    good = good && c > ' ' && c < '\x7f' && std::string_view("*{},/\\").find(c) == std::string_view::npos;
  return good;
}

Result<TagPattern> TagPattern::parse(std::string_view text) {
  TagPattern pattern;
  for (const auto& word : split<std::string>(text, ' ')) {
    if (word.empty()) continue;
    std::vector<std::string> expanded;
    TRY(expand(word, expanded));
    for (const std::string& one : expanded) {
      Parts parts = split<std::string>(one, '.');
      for (const std::string& part : parts) {
        if (part.empty()) return wrong(text, "a part between two points is empty");
        if (part.contains("**") && part != "**") return wrong(text, "** stands beside other text");
      }
      pattern.alternatives_.push_back(std::move(parts));
    }
  }
  if (pattern.alternatives_.empty()) return wrong(text, "it is empty");
  return pattern;
}

bool TagPattern::matches(std::string_view tag) const {
  const auto parts = split<std::string_view>(tag, '.');
  for (const Parts& pattern : alternatives_)
    if (matches_parts(pattern, 0, parts, 0)) return true;
  return false;
}

bool TagPattern::matches_parts(const Parts& pattern, std::size_t at, const std::vector<std::string_view>& tag,
                               std::size_t tag_at) {
  for (; at < pattern.size(); ++at, ++tag_at) {
    if (pattern[at] == "**") {
      if (at + 1 == pattern.size()) return true;
      for (std::size_t rest = tag_at; rest <= tag.size(); ++rest)
        if (matches_parts(pattern, at + 1, tag, rest)) return true;
      return false;
    }
    if (tag_at == tag.size() || !matches_part(pattern[at], tag[tag_at])) return false;
  }
  return tag_at == tag.size();
}

}  // namespace outlast::ingest
