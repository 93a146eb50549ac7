package org.lethe.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Ctrl-C asks the run to stop at its next step, and waits while it writes its checkpoint. The
 * command line owns its process, so this one flag may be the process's.
 */
final class Interrupts {
  private static final AtomicBoolean ASKED = new AtomicBoolean();
  private static final AtomicBoolean INSTALLED = new AtomicBoolean();
  private static final CountDownLatch FINISHED = new CountDownLatch(1);
  private static final long PATIENCE_MINUTES = 10;

  private Interrupts() {}

  /** From now on Ctrl-C only asks. */
  static void install() {
    if (INSTALLED.compareAndSet(false, true)) {
      Runtime.getRuntime().addShutdownHook(new Thread(Interrupts::askAndWait, "interrupt"));
    }
  }

  private static void askAndWait() {
    if (FINISHED.getCount() == 0) {
      return;
    }
    ASKED.set(true);
    System.err.println();
    System.err.println("stopping at the end of this step, with a checkpoint...");
    try {
      boolean _ = FINISHED.await(PATIENCE_MINUTES, TimeUnit.MINUTES);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Whether the run was asked to stop. */
  static boolean asked() {
    return ASKED.get();
  }

  /** The command is done: nothing is waited for any more. */
  static void finished() {
    FINISHED.countDown();
  }
}
