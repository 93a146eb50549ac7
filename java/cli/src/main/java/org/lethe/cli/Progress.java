package org.lethe.cli;

import java.io.PrintStream;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;
import org.lethe.model.Llama;
import org.lethe.train.TrainingListener;
import org.lethe.unlearn.BlockTranslation;
import org.lethe.unlearn.Labelling;

/**
 * Shows on the standard error how long work goes: a bar with time left on a terminal, now and then
 * a line elsewhere.
 */
final class Progress implements TrainingListener, Labelling.Listener, AutoCloseable {
  private final PrintStream err;
  private final boolean terminal;
  private @Nullable ProgressBar bar;
  private String task = "";
  private long start;
  private int first;
  private int tenths;

  Progress() {
    this(System.err, Boolean.getBoolean("lethe.terminal"));
  }

  Progress(PrintStream err, boolean terminal) {
    this.err = err;
    this.terminal = terminal;
  }

  /** Begins a task of {@code all} parts, of which {@code done} are done. */
  void begin(String name, String unit, int done, int all) {
    end();
    task = name;
    start = System.nanoTime();
    first = done;
    tenths = all == 0 ? 0 : 10 * done / all;
    if (terminal) {
      bar =
          new ProgressBarBuilder()
              .setTaskName("%-11s".formatted(name))
              .setInitialMax(all)
              .setUnit(" " + unit, 1)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(250)
              .build();
      bar.stepTo(done);
    }
  }

  /** {@code done} parts of {@code all} are done. */
  void at(int done, int all, String message) {
    ProgressBar b = bar;
    if (b != null) {
      b.stepTo(done);
      b.setExtraMessage(message);
    } else if (10 * done / all > tenths || done == all) {
      tenths = 10 * done / all;
      double seconds = (System.nanoTime() - start) / 1e9;
      double left = done > first ? seconds / (done - first) * (all - done) : 0;
      err.printf(Locale.ROOT, "%-11s %4d/%d  %s  %.0f s left%n", task, done, all, message, left);
    }
  }

  /** {@code done} parts are done: shown where a bar is. */
  void step(int done) {
    if (bar != null) {
      bar.stepTo(done);
    }
  }

  /**
   * Says at once what comes next, {@code done} parts of {@code all} done: it may end the process.
   */
  void next(int done, int all, String part) {
    ProgressBar b = bar;
    if (b != null) {
      b.stepTo(done);
      b.setExtraMessage(part);
      b.refresh();
    } else {
      err.printf(Locale.ROOT, "%-11s %4d/%d  %s%n", task, done, all, part);
    }
  }

  @Override
  public void started(String phase, int done, int steps, Llama llama) {
    begin(phase, "steps", done, steps);
  }

  @Override
  public void stepped(Step step, int steps, Llama llama) {
    at(
        step.step(),
        steps,
        String.format(
            Locale.ROOT, "loss %.3f, %.0f tokens/s", step.loss(), step.tokensPerSecond()));
  }

  @Override
  public void labelled(
      int done, int blocks, int[] tokens, BlockTranslation translation, int[][] labels) {
    if (done == 1) {
      begin("label", "blocks", 0, blocks);
    }
    at(done, blocks, translation.matches().size() + " expressions replaced");
  }

  @Override
  public void close() {
    end();
  }

  /** The task is over. */
  void end() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
