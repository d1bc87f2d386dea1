#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace outlast::ingest {

/// Whether this is a tag: parts of letters, digits, - and _ with points between them, at most 255 bytes.
bool is_tag(std::string_view text);

/// Fluentd's tag patterns: `*` is one part of a tag ("a.*" matches "a.b", not "a.b.c" nor "a"), or some of one beside
/// other text ("web*"); `**` is any number of parts, none too ("a.**" matches "a", "a.b" and "a.b.c"); `{a,b}` is
/// either, and may hold patterns. Several patterns with spaces between them match what one of them matches. Pure.
/// Thread-safety: any thread.
class TagPattern {
 public:
  /// kInvalidArgument: empty, a brace without its other, `**` beside other text of its part, or too many alternatives.
  static Result<TagPattern> parse(std::string_view text);
  bool matches(std::string_view tag) const;

 private:
  using Parts = std::vector<std::string>;
  static bool matches_parts(const Parts& pattern, std::size_t at, const std::vector<std::string_view>& tag,
                            std::size_t tag_at);
  std::vector<Parts> alternatives_;
};

}  // namespace outlast::ingest
