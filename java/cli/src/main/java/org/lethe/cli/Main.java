package org.lethe.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
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
  /** In the order of the help. */
  private static final List<Class<?>> COMMANDS =
      List.of(
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
          PlanCommand.class,
          DoctorCommand.class,
          VerifyCommand.class,
          AssetsCommand.class);

  static final int FAILED = 1;
  static final int USAGE = 2;
  static final int DIVERGED = 3;
  static final int INTERRUPTED = 130;

  @Spec private CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  Main() {}

  /** Runs a command and exits with its code. */
  public static void main(String[] args) {
    Locale.setDefault(Locale.ROOT); // numbers read the same everywhere
    int code = FAILED;
    try {
      code = execute(args);
    } finally { // an Error too: else the hook waits for what is over
      Interrupts.finished();
    }
    System.exit(code);
  }

  /** Runs a command; what went wrong is one message on the standard error. */
  static int execute(String... args) {
    CommandLine line = commands(args.length > 0 ? args[0] : "");
    // UTF-8, as JSON is whatever the locale; and picocli's own writer hides that a pipe was closed.
    line.setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8));
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setParameterExceptionHandler((exception, _) -> misused(exception));
    line.setExecutionExceptionHandler((exception, command, _) -> failed(exception, command));
    try {
      int code = line.execute(args);
      if (code == 0 && line.getOut().checkError()) {
        line.getErr().println("lethe: the standard output cannot be written to");
        return FAILED;
      }
      return code;
    } catch (OutOfMemoryError e) {
      line.getErr()
          .printf(
              "lethe: %s; Java may use %,d MB: LETHE_JAVA_OPTIONS=-Xmx8g gives it more%n",
              e.getMessage(), Runtime.getRuntime().maxMemory() / 1_000_000);
      return FAILED;
    }
  }

  /** The command {@code name} alone, which spares a tenth of a second; where it is none, all. */
  static CommandLine commands(String name) {
    var line = new CommandLine(new Main());
    List<Class<?>> named =
        COMMANDS.stream().filter(c -> c.getAnnotation(Command.class).name().equals(name)).toList();
    (named.isEmpty() ? COMMANDS : named).forEach(line::addSubcommand);
    return line;
  }

  private static int misused(ParameterException exception) {
    CommandLine command = exception.getCommandLine();
    String name = command.getCommandSpec().qualifiedName();
    command.getErr().println(name + ": " + exception.getMessage() + " (see " + name + " --help)");
    trace(exception, command);
    return USAGE;
  }

  private static int failed(Exception exception, CommandLine command) {
    command.getErr().println(command.getCommandSpec().qualifiedName() + ": " + message(exception));
    trace(exception, command);
    return exception instanceof TrainingDivergedException ? DIVERGED : FAILED;
  }

  private static void trace(Exception exception, CommandLine command) {
    if (System.getenv("LETHE_TRACE") != null) {
      exception.printStackTrace(command.getErr());
    }
  }

  private static String message(Throwable e) {
    if (e instanceof UncheckedIOException && e.getCause() instanceof IOException cause) {
      return message(cause);
    }
    String text = e.getMessage();
    boolean expected =
        e instanceof IOException
            || e instanceof DeviceException
            || e instanceof IllegalArgumentException
            || e instanceof TrainingDivergedException
            || e instanceof ModelFormatException
            || e instanceof TextException
            || e instanceof ArithmeticException;
    return switch (e) {
      case NoSuchFileException missing -> missing(Path.of(missing.getFile()));
      case AccessDeniedException _ -> "no permission for " + text;
      case FileAlreadyExistsException _ -> text + " exists already";
      case NotDirectoryException _ -> text + " is no folder";
      default ->
          expected && text != null
              ? text
              : "this is a fault in lethe itself: " + e + " (LETHE_TRACE=1 shows where)";
    };
  }

  private static String missing(Path file) {
    Path folder = file.toAbsolutePath().getParent();
    return folder == null || Files.isDirectory(folder)
        ? "there is no file " + file
        : "there is no folder " + folder;
  }

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "which command?");
  }
}
