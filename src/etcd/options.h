#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace outlast::etcd {

/// What `--meta=etcd://host:port,host:port/prefix?ca=…` says.
struct Options {
  std::vector<std::string> endpoints;  ///< "host:port", in the order given.
  std::string prefix{"/outlast"};      ///< In front of every key; no slash at its end.
  std::string ca_file;                 ///< PEM; TLS when it is given.
  std::string cert_file, key_file;     ///< PEM; this client's, both or none.
  std::string user, password_file;     ///< Both or none. The file's first line is the password.
};

/// Looks at no file. Errors: kInvalidArgument, with the form that is understood.
Result<Options> parse_url(std::string_view url);
inline constexpr std::string_view kScheme = "etcd://";

/// The files that the options name, read.
struct Secrets {
  std::string ca, cert, key, password;
};
/// Errors: kIo names the file; kInvalidArgument for an empty one.
Result<Secrets> read_secrets(const Options& options);

}  // namespace outlast::etcd
