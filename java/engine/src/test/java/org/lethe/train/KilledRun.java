package org.lethe.train;

import java.io.IOException;
import java.nio.file.Path;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;

/** The process that {@link KillTest} kills: trains in the folder that its argument names. */
final class KilledRun {
  private KilledRun() {}

  /** Prints a line an event, so that the killer can choose its moment. */
  public static void main(String[] arguments) throws IOException {
    TinyRun run = run();
    run.listener =
        new TrainingListener() {
          @Override
          public void started(String phase, int done, int steps, Llama llama) {
            say("started " + done);
          }

          @Override
          public void stepped(Step step, int steps, Llama llama) {
            say("stepped " + step.step());
          }

          @Override
          public void checkpointed(int step) {
            say("checkpointed " + step);
          }
        };
    train(run, Path.of(arguments[0]));
  }

  /** The run itself, as the uninterrupted one does it too. */
  static TinyRun.Result train(TinyRun run, Path directory) throws IOException {
    try (Device device = Device.open("cpu", new Device.Options(1, null))) {
      return run.run(device, directory);
    }
  }

  static TinyRun run() {
    var run = new TinyRun();
    run.dtype = DType.BF16;
    run.momentType = DType.BF16;
    run.checkpointEvery = 2;
    run.holdout = 0.2;
    run.epochs = 20; // 60 steps
    run.learningRate = 1e-3;
    return run;
  }

  private static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }
}
