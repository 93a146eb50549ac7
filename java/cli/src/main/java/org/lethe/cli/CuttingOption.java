package org.lethe.cli;

import org.lethe.text.TextBlocks;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code --block} and {@code --cuts}: how a text becomes blocks. */
final class CuttingOption {
  @Option(
      names = "--block",
      defaultValue = "512",
      description = "tokens in a block (default ${DEFAULT-VALUE})")
  int block;

  @Option(
      names = "--cuts",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "cuts the text N times, each from another place on: N times the blocks (default"
              + " ${DEFAULT-VALUE})")
  int cuts;

  @Spec(Spec.Target.MIXEE)
  CommandSpec command;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  CuttingOption() {}

  TextBlocks.Cutting cutting() {
    return Usage.checked(command, () -> new TextBlocks.Cutting(block, cuts));
  }
}
