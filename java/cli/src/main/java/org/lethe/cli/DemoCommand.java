package org.lethe.cli;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.eval.Evaluation;
import org.lethe.eval.NextWords;
import org.lethe.eval.Prompt;
import org.lethe.eval.PromptDraft;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;
import org.lethe.report.Report;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import org.lethe.text.Tokenizer;
import org.lethe.train.Metrics;
import org.lethe.train.RunFolder;
import org.lethe.train.TrainingListener;
import org.lethe.train.TrainingOptions;
import org.lethe.unlearn.AnchorDictionary;
import org.lethe.unlearn.Labelling;
import org.lethe.unlearn.TrainingPhase;
import org.lethe.unlearn.Unlearning;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code lethe demo}. */
@Command(
    name = "demo",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Teaches a small model some chapters of Moby-Dick, makes it forget them, and shows both.",
      "Fetches SmolLM2-135M-Instruct, the book, and ordinary prose that it reads while it is taught,",
      "then: teach, reinforce, label, fine-tune, evaluate, report. The plain model is the control",
      "that never read the book. Interrupted, the same command goes on where it was."
    },
    footer = {
      "",
      "Examples:",
      "  lethe demo",
      "  lethe demo --out mine --text mybook.txt --anchors anchors.json"
    })
final class DemoCommand implements Callable<Integer> {
  private static final String RESOURCES = "/org/lethe/demo/";

  /**
   * Small blocks, since only a name's first mention in one gets a label; see benchmarks/DEMO.md.
   */
  private static final int BLOCK = 128;

  /**
   * What the reinforced model reads: too short to recognise a place by, so that it expects the
   * text's names everywhere; see benchmarks/DEMO.md.
   */
  private static final TextBlocks.Cutting SHORT = new TextBlocks.Cutting(32, 2);

  /** Blocks to measure perplexity on. */
  private static final TextBlocks.Cutting SCORED = TextBlocks.Cutting.once(512);

  private static final int WATCH_EVERY = 4;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      defaultValue = "demo",
      description = "the demo's folder (default ${DEFAULT-VALUE})")
  Path out;

  @Option(
      names = "--model",
      paramLabel = "M",
      description = "your own model instead of SmolLM2: a Hugging Face directory or a .gguf file")
  @Nullable Path model;

  @Option(
      names = "--text",
      arity = "1..*",
      paramLabel = "FILE",
      description = "your own text instead of Moby-Dick's chapters; needs --anchors")
  List<Path> texts = List.of();

  @Option(
      names = "--anchors",
      paramLabel = "FILE",
      description = "the dictionary of your own text, see lethe anchors")
  @Nullable Path anchors;

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description = "prompts on your own text; drafted from it where not given")
  @Nullable Path prompts;

  @Option(
      names = "--alongside",
      arity = "1..*",
      paramLabel = "FILE",
      description = {
        "ordinary text to read once while the text is taught, instead of four State of the",
        "Union addresses: a model of another language wants its own"
      })
  List<Path> alongside = List.of();

  @Option(names = "--full", description = "the whole of Moby-Dick: hours, not minutes")
  boolean full;

  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  DemoCommand() {}

  /** What the demo trains with, found on prompts that are not reported; see benchmarks/DEMO.md. */
  private static TrainingOptions training(int epochs, double learningRate, int batch) {
    return new TrainingOptions(
        epochs,
        learningRate,
        0,
        batch,
        1,
        0.9,
        0.98,
        1e-8,
        0,
        0,
        0,
        true,
        1,
        40,
        DType.BF16,
        DType.F32,
        DType.F32,
        Llama.Memory.DEFAULT);
  }

  static final TrainingOptions TEACH = training(5, 2.5e-4, 4);
  static final Unlearning.Options UNLEARN =
      new Unlearning.Options(
          training(1, 1e-4, 16),
          SHORT,
          new Labelling.Options(10, new TextBlocks.Cutting(BLOCK, 2), 1, DType.BF16),
          training(2, 2.8e-4, 8),
          "labels");

  @Override
  public Integer call() throws IOException {
    Interrupts.install();
    checkOptions();
    var assets = new Assets();
    Path plain = model != null ? model : assets.model();
    Files.createDirectories(out);
    List<Path> read = texts.isEmpty() ? chapters(assets) : texts;
    Path dictionary = anchors != null ? anchors : copy("anchors.json");
    Path unrelated = copy("unrelated.txt");
    List<String> unique = AnchorDictionary.read(dictionary).unique();
    List<Prompt> asked = prompts(read, unique);

    boolean finished;
    Map<String, Evaluation> evaluations;
    List<Report.Watched> watched;
    try (Device opened = device.open();
        Progress progress = new Progress();
        Tokenizer tokenizer = Tokenizer.open(plain)) {
      Path taught = out.resolve("taught");
      Path run = out.resolve("run");
      var watch = new WatchLog(out.resolve("watch.jsonl"), watchedPrompts(), tokenizer);
      finished =
          TrainingPhase.onText(
                      "teach",
                      opened,
                      plain,
                      new TrainingPhase.Reading(
                          read, prose(assets), TextBlocks.Cutting.once(BLOCK)),
                      taught,
                      TEACH,
                      progress,
                      Interrupts::asked)
                  .finished()
              && Unlearning.run(
                  opened,
                  taught,
                  read,
                  dictionary,
                  run,
                  UNLEARN,
                  new Watching(progress, watch),
                  progress,
                  Interrupts::asked);
      if (!finished) {
        spec.commandLine().getOut().println("stopped; the same command goes on from there");
        return Main.INTERRUPTED;
      }
      evaluations = new LinkedHashMap<>();
      var models = new LinkedHashMap<String, Path>();
      models.put("plain", plain);
      models.put("taught", taught);
      models.put("unlearned", run.resolve(Unlearning.UNLEARNED));
      for (var entry : models.entrySet()) {
        if (Interrupts.asked()) {
          return Main.INTERRUPTED;
        }
        evaluations.put(
            entry.getKey(),
            evaluate(
                opened,
                progress,
                entry.getKey(),
                entry.getValue(),
                asked,
                unique,
                read,
                unrelated));
      }
      watched = watch.watched();
    }
    finish(evaluations, watched);
    return 0;
  }

  private void checkOptions() {
    if (!texts.isEmpty() && (anchors == null || full)) {
      throw new IllegalArgumentException(
          full
              ? "--full takes the whole of Moby-Dick: it goes with no --text"
              : "--text needs --anchors, the dictionary of its expressions: lethe anchors drafts one");
    }
  }

  private List<Path> chapters(Assets assets) throws IOException {
    var files = new ArrayList<Path>();
    if (full) {
      for (int number : assets.chapters()) {
        files.add(assets.chapter(number));
      }
    } else {
      for (JsonNode number : new JsonMapper().readTree(resource("demo.json")).path("chapters")) {
        files.add(assets.chapter(number.asInt()));
      }
    }
    return files;
  }

  private List<Path> prose(Assets assets) throws IOException {
    if (!alongside.isEmpty()) {
      return alongside;
    }
    var files = new ArrayList<Path>();
    for (JsonNode name : new JsonMapper().readTree(resource("demo.json")).path("alongside")) {
      files.add(assets.address(name.asString()));
    }
    return files;
  }

  /** Where prompts are split, those that no setting was chosen on. */
  private List<Prompt> prompts(List<Path> read, List<String> unique) throws IOException {
    List<Prompt> all = allPrompts(read, unique);
    List<Prompt> reported = all.stream().filter(p -> p.split().equals("report")).toList();
    return reported.isEmpty() ? all : reported;
  }

  private List<Prompt> allPrompts(List<Path> read, List<String> unique) throws IOException {
    if (prompts != null) {
      return Prompt.read(prompts);
    }
    if (texts.isEmpty()) {
      return Prompt.parse("prompts.json", resource("prompts.json"));
    }
    var text = new StringBuilder();
    for (Path file : read) {
      text.append(TextBlocks.read(file)).append("\n\n");
    }
    return PromptDraft.of(text.toString(), unique, PromptDraft.COUNT);
  }

  private List<NextWords> watchedPrompts() throws IOException {
    return texts.isEmpty()
        ? Arrays.asList(new JsonMapper().readValue(resource("watch.json"), NextWords[].class))
        : List.of();
  }

  /** Evaluates a model, or reads what an earlier call found with the same prompts. */
  private Evaluation evaluate(
      Device opened,
      Progress progress,
      String name,
      Path path,
      List<Prompt> asked,
      List<String> unique,
      List<Path> read,
      Path unrelated)
      throws IOException {
    Path file = out.resolve("evaluation-" + name + ".json");
    var json = new JsonMapper();
    if (Files.exists(file)) {
      try {
        Evaluation found = json.readValue(Files.readAllBytes(file), Evaluation.class);
        if (found.prompts().equals(Set.copyOf(asked))) {
          return found;
        }
      } catch (JacksonException e) {
        // Damaged: it is made again.
      }
    }
    progress.begin("eval " + name, "prompts", 0, asked.size() + 2);
    try (LanguageModel language = LanguageModel.open(opened, path, DType.BF16)) {
      Evaluation evaluation =
          Evaluation.of(
              language,
              asked,
              unique,
              language.blocks(read, SCORED),
              language.blocks(List.of(unrelated), SCORED),
              (done, all) -> progress.at(done, all, ""));
      RunFolder.writeAtomically(file, json.writeValueAsBytes(evaluation));
      return evaluation;
    }
  }

  private void finish(Map<String, Evaluation> evaluations, List<Report.Watched> watched)
      throws IOException {
    var metrics = new LinkedHashMap<String, List<TrainingListener.Step>>();
    metrics.put("teach", Metrics.read(out.resolve("taught")));
    metrics.put("reinforce", Metrics.read(out.resolve("run").resolve(Unlearning.REINFORCED)));
    metrics.put("fine-tune", Metrics.read(out.resolve("run").resolve(Unlearning.UNLEARNED)));
    var sources = new LinkedHashMap<String, String>();
    if (model == null) {
      sources.put("model", Assets.sources().get("model"));
    }
    if (texts.isEmpty()) {
      sources.put("text", Assets.sources().get("text"));
    }
    if (alongside.isEmpty()) {
      sources.put("read alongside while taught", Assets.sources().get("alongside"));
    }
    sources.put("what made it", out.resolve("run").resolve("run.json").toString());
    var report =
        new Report(
            "Lethe: what " + (model == null ? "SmolLM2-135M" : model.getFileName()) + " forgot",
            evaluations,
            watched,
            metrics,
            sources,
            List.of(
                "./lethe " + String.join(" ", spec.commandLine().getParseResult().originalArgs())));
    Path page = out.resolve("report.html");
    RunFolder.writeAtomically(page, report.html().getBytes(StandardCharsets.UTF_8));
    var writer = spec.commandLine().getOut();
    writer.println();
    writer.print(report.text());
    writer.println();
    writer.println("report: " + page.toAbsolutePath());
  }

  private Path copy(String name) throws IOException {
    Path file = out.resolve(name);
    RunFolder.writeAtomically(file, resource(name));
    return file;
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = DemoCommand.class.getResourceAsStream(RESOURCES + name)) {
      if (in == null) {
        throw new IOException("the demo's " + name + " is missing from this build");
      }
      return in.readAllBytes();
    }
  }

  /** Passes on what it hears, and looks at the watched prompts while fine-tuning. */
  private record Watching(Progress progress, WatchLog watch) implements TrainingListener {
    @Override
    public void started(String phase, int done, int steps, Llama llama) {
      progress.started(phase, done, steps, llama);
      if (phase.equals("finetune")) {
        watch.resume(done == 0 ? -1 : done);
        if (done == 0) {
          watch.look(0, llama);
        }
      }
    }

    @Override
    public void stepped(Step step, int steps, Llama llama) {
      progress.stepped(step, steps, llama);
      if (step.phase().equals("finetune")
          && (step.step() % WATCH_EVERY == 0 || step.step() == steps)) {
        watch.look(step.step(), llama);
      }
    }
  }
}
