// edgedistil_runner: a worker of edgedistil in C++. JSON requests come on standard input, one a line; each gets one
// line on standard output; the last line is {"end": exit code}, so that a run that was torn is told from a whole one.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "clock.hpp"
#include "cores.hpp"
#include "errors.hpp"
#include "launch.hpp"
#include "options.hpp"
#include "protocol.hpp"

namespace edgedistil {
namespace {

// Libraries print to standard output; the protocol keeps its own copy of it.
class Answers {
 public:
  Answers() : stream_(fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0), "w")) {}

  // From here on, what others print goes to standard error.
  void keep_to_ourselves() { dup2(STDERR_FILENO, STDOUT_FILENO); }

  void write(const json::Value& value) {
    const std::string line = value.line() + "\n";
    if (!stream_ || fwrite(line.data(), 1, line.size(), stream_) != line.size() || fflush(stream_) != 0) {
      throw Fatal("cannot write an answer", kBroken);
    }
  }

 private:
  FILE* stream_;
};

// The request that a line is. Throws Fatal: after a broken line, nothing that follows can be trusted.
json::Value read_request(const std::string& line) {
  try {
    json::Value request = json::parse(line);
    const json::Value* op = request.find("op");
    if (!op || !op->as<std::string>()) throw Fatal("a request must be a JSON object with a text 'op'", kBroken);
    return request;
  } catch (const json::Malformed& error) {
    throw Fatal(error.what(), kBroken);
  }
}

void serve(Protocol& protocol, Answers& answers) {
  for (std::string line; std::getline(std::cin, line);) {
    const json::Value request = read_request(line);
    const std::string& op = *request.find("op")->as<std::string>();
    if (op == "exit") return;
    json::Value answer;
    try {
      answer = protocol.answer(op, request);
    } catch (const Fatal&) {
      throw;
    } catch (const std::exception& error) {
      answer = json::Object{{"error", error.what()}};
    }
    answers.write(answer);
  }
}

int run(int count, char** arguments, std::int64_t started) {
  Answers answers;
  int code = 0;
  try {
    const Options options = read_options(count, arguments);
    json::Object clocks;
    if (options.own_clock) clocks = launch_again();
    answers.keep_to_ourselves();
    clocks.emplace_back("started", started);
    if (!options.cores.empty()) stay_on(options.cores);
    Protocol protocol(options.library, std::move(clocks));
    serve(protocol, answers);
  } catch (const Fatal& error) {
    code = error.code;
    std::cerr << "edgedistil_runner: " << error.what() << std::endl;
    answers.write(json::Object{{"error", error.what()}, {"fatal", true}});
  }
  answers.write(json::Object{{"end", code}});
  return code;
}

}  // namespace
}  // namespace edgedistil

int main(int count, char** arguments) {
  const std::int64_t started = edgedistil::monotonic_ns();
  // A reader that went away is an error of writing, not a silent death.
  signal(SIGPIPE, SIG_IGN);
  try {
    return edgedistil::run(count, arguments, started);
  } catch (const std::exception& error) {
    std::cerr << "edgedistil_runner: " << error.what() << std::endl;
    return edgedistil::kBroken;
  }
}
