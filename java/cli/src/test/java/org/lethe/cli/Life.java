package org.lethe.cli;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A command in a process of its own, with the launcher's options of the JVM. */
final class Life implements AutoCloseable {
  private final Process process;
  private final BufferedReader errors;
  private final StringBuilder said = new StringBuilder();
  private final Path out;

  private Life(Process process, Path out) {
    this.process = process;
    this.errors = process.errorReader(StandardCharsets.UTF_8);
    this.out = out;
  }

  /** Begins a command; see {@link Ran#lethe}. */
  static Life begin(Path out, String command, Object... values) throws IOException {
    return new Life(builder(out.toFile(), command, values).start(), out);
  }

  /** What {@link #begin} starts, to be changed first. */
  static Life begin(ProcessBuilder changed) throws IOException {
    return new Life(changed.start(), Path.of("/dev/null"));
  }

  static ProcessBuilder builder(File out, String command, Object... values) throws IOException {
    var line = new ArrayList<String>();
    // Where the tests run in the background of a shell, SIGINT is ignored, by children too; and
    // whoever watches a life is to be quicker than it.
    line.addAll(List.of("env", "--default-signal=INT", "nice", "-n", "15"));
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.addAll(launcherOptions());
    line.addAll(List.of("-Xmx256m", "-XX:TieredStopAtLevel=1"));
    line.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    line.addAll(List.of(Ran.words(command, values)));
    return new ProcessBuilder(line).redirectOutput(out);
  }

  /** The options that the launcher, {@code ./lethe}, starts Java with. */
  private static List<String> launcherOptions() throws IOException {
    String launcher = Files.readString(Path.of("..", "..", "lethe"));
    Matcher java = Pattern.compile("java=\\((.*?)\\)\\R", Pattern.DOTALL).matcher(launcher);
    if (!java.find()) {
      throw new AssertionError("the launcher's java=(...) is not found");
    }
    return Pattern.compile("\\s+")
        .splitAsStream(java.group(1))
        .map(word -> word.replace("'", ""))
        .filter(word -> word.startsWith("-") && !word.contains("$"))
        .toList();
  }

  /** Waits until it says something that begins with {@code start}. */
  void await(String start) throws IOException {
    for (String line = errors.readLine(); line != null; line = errors.readLine()) {
      said.append(line).append('\n');
      if (line.startsWith(start)) {
        return;
      }
    }
    throw new AssertionError("it ended before it said '" + start + "': " + said);
  }

  /** Ctrl-C. */
  void interrupt() throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-INT", String.valueOf(process.pid())).start().waitFor();
  }

  /** Waits for its end. */
  Ran end() throws IOException, InterruptedException {
    for (String line = errors.readLine(); line != null; line = errors.readLine()) {
      said.append(line).append('\n');
    }
    int code = process.waitFor();
    return new Ran(code, Files.readString(out), said.toString());
  }

  /** SIGKILL, if it still lives. */
  @Override
  public void close() throws IOException {
    process.destroyForcibly().onExit().join();
    errors.close();
  }
}
