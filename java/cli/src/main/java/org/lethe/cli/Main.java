package org.lethe.cli;

import java.io.IOException;
import org.lethe.format.ModelFormatException;
import org.lethe.kernels.DeviceException;
import org.lethe.text.TextException;
import org.lethe.train.TrainingDivergedException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The {@code lethe} command. */
@Command(
    name = "lethe",
    description = "Makes a Llama-family language model forget a body of text.",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    subcommands = {
      DemoCommand.class,
      UnlearnCommand.class,
      ReinforceCommand.class,
      LabelCommand.class,
      FinetuneCommand.class,
      AnchorsCommand.class,
      EvalCommand.class,
      ScoreCommand.class,
      GenerateCommand.class,
      ExportCommand.class,
      DoctorCommand.class,
      AssetsCommand.class
    },
    footerHeading = "%nExit codes:%n",
    footer = {
      "  0  done",
      "  1  failed: the message says what was asked, what was found, what to do",
      "  2  the command line is wrong",
      "  3  training stopped: a loss or gradient was not finite",
      "  130  interrupted; a run goes on with the same command",
      "",
      "Start with: lethe demo"
    })
public final class Main implements Runnable {
  static final int FAILED = 1;
  static final int DIVERGED = 3;
  static final int INTERRUPTED = 130;

  @Spec private CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  Main() {}

  /** Runs a command and exits with its code. */
  public static void main(String[] args) {
    int code = execute(args);
    Interrupts.finished();
    System.exit(code);
  }

  /** Runs a command; what went wrong is one message on the standard error. */
  static int execute(String... args) {
    CommandLine line = new CommandLine(new Main());
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setExecutionExceptionHandler(
        (exception, command, result) -> {
          command.getErr().println("lethe " + name(command) + ": " + message(exception));
          if (System.getenv("LETHE_TRACE") != null) {
            exception.printStackTrace(command.getErr());
          }
          return exception instanceof TrainingDivergedException ? DIVERGED : FAILED;
        });
    return line.execute(args);
  }

  private static String name(CommandLine command) {
    return command.getCommandName();
  }

  private static String message(Throwable e) {
    String text = e.getMessage();
    boolean expected =
        e instanceof IOException
            || e instanceof DeviceException
            || e instanceof IllegalArgumentException
            || e instanceof TrainingDivergedException
            || e instanceof ModelFormatException
            || e instanceof TextException
            || e instanceof ArithmeticException;
    if (e instanceof java.nio.file.NoSuchFileException) {
      return "there is no file " + text;
    }
    if (e instanceof java.nio.file.AccessDeniedException) {
      return "no permission for " + text;
    }
    return expected && text != null
        ? text
        : "this is a fault in lethe itself: " + e + " (LETHE_TRACE=1 shows where)";
  }

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "which command? See lethe --help");
  }
}
