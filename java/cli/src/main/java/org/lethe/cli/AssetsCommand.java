package org.lethe.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code lethe assets}: fetches the demo's model and book, for the tests that use them. */
@Command(
    name = "assets",
    hidden = true,
    mixinStandardHelpOptions = true,
    description = "Fetches the demo's model and book, and prints where they are.")
final class AssetsCommand implements Callable<Integer> {
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  AssetsCommand() {}

  @Override
  public Integer call() throws IOException {
    var assets = new Assets();
    var out = spec.commandLine().getOut();
    out.println(assets.model());
    out.println(assets.chapter(1).getParent());
    return 0;
  }
}
