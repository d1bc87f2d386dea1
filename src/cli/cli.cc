// The one file that knows CLI11: turns the plain Command structs into a command tree.
#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "cli/command.h"
#include "cli/config_file.h"

namespace outlast::cli {
namespace {

constexpr const char* kGroupSummaries[][2] = {
    {"gen", "Write configurations for programs around a cluster"},
    {"ingest", "Look at what comes in from outside SQL"},
    {"meta", "Look at and repair the cluster's metadata"},
    {"node", "Look at and care for the nodes of a cluster"},
    {"range", "Look at, compare and rescue the replicas of databases"},
    {"task", "Look at and steer what the cluster does for hours"},
    {"workload", "Put load on a cluster and check what it kept"},
};

/// One overload for each kind of option that CLI11 distinguishes.
struct AddOption {
  CLI::App& app;
  const Option& o;

  CLI::Option* operator()(bool* target) const { return app.add_flag(o.name, *target, o.help); }
  CLI::Option* operator()(std::vector<std::string>* target) const {
    auto* option = app.add_option(o.name, *target, o.help);
    if (o.name.starts_with("-")) option->allow_extra_args(false);
    if (o.name.starts_with("-") && !o.whole) option->delimiter(',');
    return option;
  }
  template <class T>
  CLI::Option* operator()(T*) const {
    const std::function<void(const std::string&)> read = [option = &o](const std::string& word) {
      auto value = read_option(*option, word);
      if (!value.ok()) throw CLI::ValidationError(option->name, value.error().message);
      assign(*option, std::move(value).value());
    };
    auto* option = app.add_option_function<std::string>(o.name, read, help())->take_last();
    if (const std::string shown = shown_default(o); !shown.empty()) option->default_str(shown);
    return option;
  }

 private:
  std::string help() const {
    std::string choices;
    for (const std::string& choice : o.choices) choices += (choices.empty() ? "" : ", ") + choice;
    return choices.empty() ? o.help : o.help + " (" + choices + ")";
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
      if (option.required && command.config == nullptr) added->required();
      if (option.required && command.config != nullptr)
        added->description(option.help + "; required, here or in the file of --config");
      options_[&option] = added;
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

  /// Of what the command line did not say, after parsing: the configuration file, then the required options.
  Result<void> complete(const Command& command) const {
    if (command.config == nullptr) return {};
    std::vector<ConfigEntry> entries;
    if (!command.config->empty()) {
      ASSIGN_OR_RETURN(entries, read_config(*command.config, command.options));
    }
    std::set<const Option*> known;
    for (ConfigEntry& entry : entries) {
      known.insert(entry.option);
      if (!given(*entry.option)) assign(*entry.option, std::move(entry.value));
    }
    for (const Option& option : command.options)
      if (option.required && !given(option) && !known.contains(&option))
        return Error(Errc::kInvalidArgument, option.name + " is required: on the command line, or as `" +
                                                 option.name.substr(2) + "` in the file of --config");
    return {};
  }

 private:
  bool given(const Option& option) const { return options_.at(&option)->count() > 0; }

  static std::string summary_of(const std::string& group) {
    for (const auto& [name, summary] : kGroupSummaries)
      if (group == name) return summary;
    return "";
  }

  CLI::App app_{"Outlast: a clustered SQL and event store that outlasts its nodes.", "outlast"};
  std::map<std::string, CLI::App*> nodes_;
  std::map<CLI::App*, const Command*> runs_;
  std::map<const Option*, CLI::Option*> options_;
};

/// What stands behind "start" or "node status".
std::vector<std::string> words_behind(const std::string& path, int argc, const char* const* argv) {
  const auto skipped = 2 + std::ranges::count(path, ' ');
  if (argc <= skipped) return {};
  return {argv + skipped, argv + argc};
}

/// After parsing.
Result<void> settle(const Tree& tree, const Command& command, int argc, const char* const* argv) {
  TRY(tree.complete(command));
  if (command.given != nullptr) *command.given = words_behind(command.path, argc, argv);
  return {};
}

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
  if (auto settled = settle(tree, *command, argc, argv); !settled.ok()) {
    std::fprintf(stderr, "outlast: %s\n", settled.error().message.c_str());
    return kUsage;
  }
  return command->run();
}

Result<void> read_command_line(int argc, const char* const* argv, const Command& command) {
  Tree tree;
  tree.add(command);
  try {
    tree.app().parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return Error(Errc::kInvalidArgument, e.what());
  }
  return settle(tree, command, argc, argv);
}

int run(int argc, char** argv) {
  return run_command_line(argc, argv, all_commands());
}

}  // namespace outlast::cli
