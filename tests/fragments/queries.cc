#include "tests/fragments/queries.h"

#include <vector>

namespace outlast::fragments::test {
namespace {

struct Named {
  std::string table, alias;
  bool bare{false};  ///< Its columns are written without the alias.
  std::string dot() const { return bare ? "" : alias + "."; }
};

class Generator {
 public:
  explicit Generator(Random& random) : random_(random) {}

  Query query() {
    switch (below(10)) {
      case 0:
      case 1:
      case 2:
        return ordered(grouped(one_table("t"), true));
      case 3:
        return ordered("SELECT DISTINCT " + list(columns(one_table("t"), 1 + below(3)), ", "));
      case 4:
        return ordered("SELECT " + list(columns(one_table("t"), 1 + below(3)), ", "));
      case 5:
      case 6:
        return joined();
      case 7:
        return set_operation();
      default:
        return nested();
    }
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_.next() % n; }
  bool chance(std::uint64_t percent) { return below(100) < percent; }
  template <class List>
  auto pick(const List& items) {
    return items[below(items.size())];
  }
  static std::string list(const std::vector<std::string>& parts, const std::string& separator) {
    std::string out;
    for (const std::string& part : parts) out += (out.empty() ? "" : separator) + part;
    return out;
  }

  // One table, its FROM and WHERE kept for the end of the text.
  Named one_table(const std::string& alias) {
    const Named table{pick(std::vector<std::string>{"t", "t", "t", "u", "c", "e", "p"}), alias, chance(30)};
    from_ = " FROM " + table.table + (table.table == alias ? "" : " AS " + alias);
    if (chance(65)) from_ += " WHERE " + condition({table}, 2);
    outputs_ = 0;
    return table;
  }

  std::vector<std::string> column_names(const std::string& table) const {
    if (table == "t") return {"k", "a", "b", "f", "s", "ok"};
    if (table == "u") return {"s", "k", "a"};
    if (table == "c") return {"c", "a", "s"};
    if (table == "e") return {"ts", "s", "b"};
    return {"a", "s", "f"};
  }
  std::string numeric(const Named& t) {
    const auto names = t.table == "t"   ? std::vector<std::string>{"k", "a", "b", "f"}
                       : t.table == "u" ? std::vector<std::string>{"k", "a"}
                       : t.table == "e" ? std::vector<std::string>{"b"}
                       : t.table == "c" ? std::vector<std::string>{"a"}
                                        : std::vector<std::string>{"a", "f"};
    return t.dot() + pick(names);
  }
  std::string column(const Named& t) { return t.dot() + pick(column_names(t.table)); }

  std::string value(const Named& t) {
    switch (below(8)) {
      case 0:
        return numeric(t) + " + 1";
      case 1:
        return "lower(" + t.alias + ".s)";
      case 2:
        return "coalesce(" + numeric(t) + ", 7)";
      case 3:
        return "length(" + t.alias + ".s)";
      case 4:
        return "CASE WHEN " + numeric(t) + " > 0 THEN 'x' ELSE " + t.alias + ".s END";
      default:
        return column(t);
    }
  }

  std::vector<std::string> columns(const Named& t, std::uint64_t n) {
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < n; ++i) out.push_back(value(t));
    outputs_ = n;
    return out;
  }

  std::string number() { return std::to_string(static_cast<int>(below(7)) - 2); }
  std::string text() {
    return "'" + pick(std::vector<std::string>{"", "a", "A", "b", "ab", "2", "02", "-1", "a  "}) + "'";
  }
  std::string time() {
    return pick(std::vector<std::string>{"'2000-01-04'", "'2000-01-04 00:00:00'", "timestamp '2000-01-05'",
                                         "'2000-01-03T12:00:00'", "timestamp '2000-01-06 08:30:00'", "now()"});
  }
  std::string compare() { return pick(std::vector<std::string>{" = ", " <> ", " < ", " <= ", " > ", " >= ", " = "}); }

  /// A comparison with the key more often than not, so that partitions are chosen.
  std::string key_test(const Named& t) {
    const std::string key = t.table == "t"   ? "k"
                            : t.table == "u" ? "s"
                            : t.table == "c" ? "c"
                            : t.table == "e" ? "ts"
                                             : "a";
    const std::string column = t.dot() + key;
    const auto constant = [&] {
      if (t.table == "e") return time();
      if (t.table == "t" || t.table == "p")
        return chance(80) ? number() : chance(50) ? "'" + number() + "'" : number() + ".0";
      return chance(85) ? text() : number();
    };
    switch (below(6)) {
      case 0:
        return column + " IN (" + constant() + ", " + constant() + ")";
      case 1:
        return column + " BETWEEN " + constant() + " AND " + constant();
      case 2:
        return constant() + compare() + column;
      case 3:
        return column + (chance(50) ? " IS NULL" : " IS NOT NULL");
      default:
        return column + (chance(60) ? " = " : compare()) + constant();
    }
  }

  std::string condition(const std::vector<Named>& tables, int depth) {
    const Named t = pick(tables);
    if (depth > 0 && chance(45)) {
      const std::string l = condition(tables, depth - 1), r = condition(tables, depth - 1);
      if (chance(15)) return "NOT (" + l + ")";
      return "(" + l + (chance(65) ? " AND " : " OR ") + r + ")";
    }
    switch (below(9)) {
      case 0:
        return numeric(t) + compare() + number();
      case 1:
        return t.alias + ".s" + compare() + text();
      case 2:
        return column(t) + (chance(50) ? " IS NULL" : " IS NOT NULL");
      case 3:
        return t.alias + ".s LIKE 'a%'";
      case 4:
        return numeric(t) + compare() + numeric(pick(tables));
      case 5:
        return numeric(t) + " + 1" + compare() + number();
      default:
        return key_test(t);
    }
  }

  std::string aggregate(const Named& t) {
    const std::string filter = chance(20) ? " FILTER (WHERE " + numeric(t) + " > 0)" : "";
    switch (below(11)) {
      case 0:
        return "count(*)" + filter;
      case 1:
        return "count(" + column(t) + ")" + filter;
      case 2:
        return "sum(" + numeric(t) + ")" + filter;
      case 3:
        return "avg(" + numeric(t) + ")" + filter;
      case 4:
        return "min(" + column(t) + ")" + filter;
      case 5:
        return "max(" + column(t) + ")" + filter;
      case 6:
        return "bool_and(" + numeric(t) + " > 0)" + filter;
      case 7:
        return "string_agg(" + t.alias + ".s, ';')" + filter;
      case 8:
        return "count(DISTINCT " + column(t) + ")";
      case 9:
        return "sum(" + numeric(t) + " + 1) * 2 + count(*)";
      default:
        return "coalesce(max(" + numeric(t) + "), 0) + count(*)";
    }
  }

  /// `top`: the statement itself; else a subquery with columns x1, x2, …
  std::string grouped(const Named& t, bool top) {
    std::vector<std::string> groups, targets, by;
    for (auto n = below(3); n > 0; --n) groups.push_back(chance(70) ? column(t) : value(t));
    for (const std::string& group : groups) {
      targets.push_back(group);
      by.push_back(chance(25) ? std::to_string(targets.size()) : group);
    }
    for (auto n = 1 + below(3); n > 0; --n) targets.push_back(aggregate(t));
    outputs_ = targets.size();
    if (!top)
      for (std::size_t i = 0; i < targets.size(); ++i) targets[i] += " AS x" + std::to_string(i + 1);
    std::string sql = std::string("SELECT ") + (chance(10) ? "DISTINCT " : "") + list(targets, ", ") + from_;
    from_.clear();
    if (!by.empty()) sql += " GROUP BY " + list(by, ", ");
    if (chance(25)) sql += " HAVING count(*) > " + std::to_string(below(3));
    return sql;
  }

  /// ORDER BY every result column, and LIMIT only then.
  Query ordered(std::string sql) {
    sql += from_;
    from_.clear();
    if (!chance(50) || outputs_ == 0) return {sql, false};
    std::vector<std::string> keys;
    for (std::uint64_t i = 1; i <= outputs_; ++i)
      keys.push_back(std::to_string(i) + (chance(40) ? " DESC" : "") + (chance(20) ? " NULLS FIRST" : ""));
    sql += " ORDER BY " + list(keys, ", ");
    if (chance(70)) sql += " LIMIT " + std::to_string(below(5));
    if (chance(25)) sql += " OFFSET " + std::to_string(below(3));
    return {sql, true};
  }

  Query joined() {
    std::vector<Named> tables;
    std::string from;
    const auto n = 2 + below(2);
    for (std::uint64_t i = 0; i < n; ++i) {
      const Named next{pick(std::vector<std::string>{"t", "u", "c", "e", "p"}), "j" + std::to_string(i + 1)};
      tables.push_back(next);
      const std::string item = next.table + " AS " + next.alias;
      if (i == 0) {
        from = item;
        continue;
      }
      static const std::vector<std::string> kKinds = {" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "};
      const std::string on =
          numeric(tables[i - 1]) + " = " + numeric(next) + (chance(50) ? " AND " + condition(tables, 1) : "");
      if (chance(10))
        from += " CROSS JOIN " + item;
      else
        from += pick(kKinds) + item + " ON " + on;
    }
    std::vector<std::string> targets;
    for (const Named& t : tables) targets.push_back(value(t));
    from_ = " FROM " + from + (chance(70) ? " WHERE " + condition(tables, 2) : "");
    outputs_ = targets.size();
    if (chance(15)) {
      outputs_ = 0;
      return ordered("SELECT *");
    }
    if (chance(20)) targets = {"count(*)", "min(" + column(tables[0]) + ")"}, outputs_ = 2;
    return ordered("SELECT " + list(targets, ", "));
  }

  Query set_operation() {
    static const std::vector<std::string> kKinds = {" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT "};
    const auto arm = [this](const std::string& alias) {
      const Named t = one_table(alias);
      std::string sql;
      if (chance(40))
        sql = "SELECT " + t.dot() + "s, count(*)" + from_ + " GROUP BY " + t.dot() + "s";
      else
        sql = std::string("SELECT ") + (chance(30) ? "DISTINCT " : "") + t.dot() + "s, " + numeric(t) + from_;
      from_.clear();
      return sql;
    };
    std::string sql = arm("l");
    sql += pick(kKinds) + arm("r");
    outputs_ = 2;
    return ordered(sql);
  }

  Query nested() {
    const Named outer{pick(std::vector<std::string>{"t", "u", "e", "p"}), "o"};
    const std::string head = "SELECT " + column(outer) + ", " + value(outer);
    const std::string from = " FROM " + outer.table + " AS o";
    switch (below(5)) {
      case 0: {
        const std::string sub = grouped(one_table("i"), false);
        const auto n = outputs_;
        outputs_ = 2;
        return ordered("SELECT x.x1, x.x" + std::to_string(n) + " FROM (" + sub + ") AS x");
      }
      case 1: {
        const Named inner = one_table("i");
        const std::string sub = "SELECT " + numeric(inner) + from_;
        from_ = from + " WHERE " + numeric(outer) + (chance(60) ? " IN (" : " NOT IN (") + sub + ")";
        outputs_ = 2;
        return ordered(head);
      }
      case 2: {
        const Named inner = one_table("i");
        const std::string also = numeric(inner) + " = " + numeric(outer);
        const std::string sub =
            "SELECT 1 FROM " + inner.table + " AS i WHERE " + also + " AND " + condition({inner}, 1);
        from_ = from + " WHERE " + (chance(60) ? "" : "NOT ") + "EXISTS (" + sub + ") AND " + condition({outer}, 1);
        outputs_ = 2;
        return ordered(head);
      }
      case 3: {
        const Named inner = one_table("i");
        const std::string sub = "(SELECT max(" + numeric(inner) + ")" + from_ + ")";
        from_ = from + " WHERE " + numeric(outer) + compare() + sub;
        outputs_ = 2;
        return ordered(head);
      }
      default: {
        const std::string sub = grouped(one_table("i"), false);
        outputs_ = 2;
        from_ = " FROM " + outer.table + " AS o LEFT JOIN w ON w.x1 = " + numeric(outer);
        return ordered("WITH w AS (" + sub + ") " + "SELECT w.x1, " + value(outer));
      }
    }
  }

  Random& random_;
  std::string from_;
  std::uint64_t outputs_{0};
};

}  // namespace

Query random_query(Random& random) {
  return Generator(random).query();
}

}  // namespace outlast::fragments::test
