// The one file that knows CLI11: turns the plain Command structs into a command tree.
#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <sstream>

#include "base/parse.h"
#include "cli/command.h"

namespace outlast::cli {
namespace {

constexpr const char* kGroupSummaries[][2] = {
    {"gen", "Write configurations for programs around a cluster"},
    {"meta", "Look at and repair the cluster's metadata"},
    {"node", "Look at and care for the nodes of a cluster"},
    {"range", "Look at, compare and rescue the replicas of databases"},
    {"workload", "Put load on a cluster and check what it kept"},
};

template <class T, class Parse>
CLI::Option* add_parsed(CLI::App& app, const Option& o, T* target, Parse parse, const std::string& shown) {
  const std::function<void(const std::string&)> read = [name = o.name, target, parse](const std::string& word) {
    auto value = parse(word);
    if (!value.ok()) throw CLI::ValidationError(name, value.error().message);
    *target = std::move(value).value();
  };
  auto* option = app.add_option_function<std::string>(o.name, read, o.help)->take_last();
  if (!shown.empty()) option->default_str(shown);
  return option;
}

Result<std::int64_t> parse_limited(const std::string& text, std::int64_t min, std::int64_t max) {
  auto number = parse_int(text);
  if (number.ok() && (*number < min || *number > max))
    return Error(Errc::kInvalidArgument,
                 text + " is not between " + std::to_string(min) + " and " + std::to_string(max));
  return number;
}

Result<double> parse_real(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0')
    return Error(Errc::kInvalidArgument, "\"" + text + "\" is not a number, such as 1.5");
  return value;
}

/// One overload for each kind of target.
struct AddOption {
  CLI::App& app;
  const Option& o;

  CLI::Option* operator()(std::string* target) const {
    auto* option = app.add_option(o.name, *target, o.help)->take_last();
    if (!target->empty()) option->default_str(*target);
    if (!o.choices.empty()) option->check(CLI::IsMember(o.choices));
    return option;
  }
  CLI::Option* operator()(bool* target) const { return app.add_flag(o.name, *target, o.help); }
  CLI::Option* operator()(std::int64_t* target) const {
    const auto parse = [min = o.min, max = o.max](const std::string& text) { return parse_limited(text, min, max); };
    return add_parsed(app, o, target, parse, std::to_string(*target));
  }
  CLI::Option* operator()(double* target) const {
    std::ostringstream shown;
    shown << *target;
    return add_parsed(app, o, target, parse_real, shown.str());
  }
  CLI::Option* operator()(Duration* target) const {
    const auto parse = [](const std::string& text) { return parse_duration(text); };
    return add_parsed(app, o, target, parse, format_duration(*target));
  }
  CLI::Option* operator()(Bytes* target) const {
    const auto parse = [](const std::string& text) -> Result<Bytes> {
      auto bytes = parse_bytes(text);
      if (!bytes.ok()) return std::move(bytes).error();
      return Bytes{*bytes};
    };
    return add_parsed(app, o, target, parse, format_bytes(target->value));
  }
  CLI::Option* operator()(std::vector<std::string>* target) const {
    auto* option = app.add_option(o.name, *target, o.help);
    if (o.name.starts_with("-")) option->allow_extra_args(false);
    if (o.name.starts_with("-") && !o.whole) option->delimiter(',');
    return option;
  }
};

/// The tree being built: groups are made when the first command below them is.
class Tree {
 public:
  Tree() {
    app_.require_subcommand(0, 1);
    app_.set_help_flag("-h,--help", "this help");
    app_.set_version_flag("--version", std::string("outlast " OUTLAST_VERSION));
    app_.footer("`outlast COMMAND --help` says more. Start with `outlast demo`.");
  }

  void add(const Command& command) {
    CLI::App* at = &app_;
    std::istringstream words(command.path);
    for (std::string word, path; words >> word;) {
      path += path.empty() ? word : " " + word;
      auto& node = nodes_[path];
      if (node == nullptr) node = at->add_subcommand(word, summary_of(path));
      at = node;
    }
    at->description(command.summary);
    at->require_subcommand(0);
    if (!command.details.empty()) at->footer(command.details);
    for (const Option& option : command.options) {
      auto* added = std::visit(AddOption{*at, option}, option.target);
      if (!option.value_name.empty()) added->type_name(option.value_name);
      if (option.required) added->required();
    }
    runs_[at] = &command;
  }

  CLI::App& app() { return app_; }

  /// The innermost command that was named; nullptr when a group alone or nothing was.
  const Command* chosen(CLI::App** named) {
    CLI::App* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    *named = at;
    const auto found = runs_.find(at);
    return found == runs_.end() ? nullptr : found->second;
  }

 private:
  static std::string summary_of(const std::string& group) {
    for (const auto& [name, summary] : kGroupSummaries)
      if (group == name) return summary;
    return "";
  }

  CLI::App app_{"Outlast: a clustered SQL and event store that outlasts its nodes.", "outlast"};
  std::map<std::string, CLI::App*> nodes_;
  std::map<CLI::App*, const Command*> runs_;
};

}  // namespace

int run_command_line(int argc, const char* const* argv, const Commands& commands) {
  Tree tree;
  for (const Command& command : commands) tree.add(command);
  try {
    tree.app().parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return tree.app().exit(e) == 0 ? kDone : kUsage;
  }
  CLI::App* named = nullptr;
  const Command* command = tree.chosen(&named);
  if (command == nullptr) {
    std::fputs(named->help().c_str(), named == &tree.app() ? stdout : stderr);
    return named == &tree.app() ? kDone : kUsage;
  }
  return command->run();
}

int run(int argc, char** argv) {
  return run_command_line(argc, argv, all_commands());
}

}  // namespace outlast::cli
