package org.lethe.cli;

import java.nio.file.Path;
import org.lethe.train.Trainer;
import picocli.CommandLine.Model.CommandSpec;

/** How a training command says how it ended. */
final class Ending {
  private Ending() {}

  static int of(CommandSpec spec, Trainer.Outcome outcome, Path out) {
    var writer = spec.commandLine().getOut();
    if (!outcome.finished()) {
      writer.printf(
          "stopped after step %d of %d; the same command goes on from there%n",
          outcome.step(), outcome.steps());
      return Main.INTERRUPTED;
    }
    writer.print("wrote " + out + " after " + outcome.steps() + " steps");
    if (outcome.bestStep() > 0) {
      writer.printf(
          ": the weights of step %d, held-out loss %.4f",
          outcome.bestStep(), outcome.heldOutLoss());
    }
    writer.println();
    return 0;
  }
}
