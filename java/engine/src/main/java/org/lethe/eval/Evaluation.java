package org.lethe.eval;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.lethe.text.LanguageModel;

/**
 * The evidence on one model.
 *
 * @param answers how probable each known answer is
 * @param completions what it makes of each completion prompt
 * @param textPerplexity on the text to forget; NaN if none was given
 * @param unrelatedPerplexity on other text; NaN if none was given
 */
public record Evaluation(
    List<Answer> answers,
    List<Familiarity.Completion> completions,
    double textPerplexity,
    double unrelatedPerplexity) {

  /** How probable a known answer is, and the likeliest of its distractors. */
  public record Answer(Prompt prompt, double probability, double bestDistractor) {}

  /** Hears how many measurements are made. */
  @FunctionalInterface
  public interface Listener {
    /** {@code done} of {@code all} measurements are made. */
    void measured(int done, int all);
  }

  /**
   * Measures a model.
   *
   * @param unique the expressions that only the text has
   * @param text blocks of the text to forget, possibly none
   * @param unrelated blocks of other text, possibly none
   */
  public static Evaluation of(
      LanguageModel model,
      List<Prompt> prompts,
      Collection<String> unique,
      List<int[]> text,
      List<int[]> unrelated,
      Listener listener) {
    var answers = new ArrayList<Answer>();
    int all = prompts.size() + 2;
    int done = 0;
    for (Prompt prompt : of(prompts, Prompt.Kind.PROBABILITY)) {
      answers.add(answer(model, prompt));
      listener.measured(++done, all);
    }
    int answered = done;
    List<Familiarity.Completion> completions =
        Familiarity.complete(
            model,
            of(prompts, Prompt.Kind.COMPLETION),
            unique,
            made -> listener.measured(answered + made, all));
    done = prompts.size();
    double onText = text.isEmpty() ? Double.NaN : Perplexity.of(model.llama(), text);
    listener.measured(++done, all);
    double onOther = unrelated.isEmpty() ? Double.NaN : Perplexity.of(model.llama(), unrelated);
    listener.measured(++done, all);
    return new Evaluation(List.copyOf(answers), completions, onText, onOther);
  }

  private static List<Prompt> of(List<Prompt> prompts, Prompt.Kind kind) {
    return prompts.stream().filter(prompt -> prompt.kind() == kind).toList();
  }

  private static Answer answer(LanguageModel model, Prompt prompt) {
    var all = new ArrayList<String>(List.of(prompt.answer()));
    all.addAll(prompt.distractors());
    List<Double> probabilities = Familiarity.probabilities(model, prompt.text(), all);
    double best = probabilities.stream().skip(1).mapToDouble(p -> p).max().orElse(Double.NaN);
    return new Answer(prompt, probabilities.getFirst(), best);
  }

  /** Familiarity by probability: the mean probability of the known answers. */
  public double probability() {
    return answers.stream().mapToDouble(Answer::probability).average().orElse(Double.NaN);
  }

  /** Familiarity by completion: the share of completions that show the model knows the text. */
  public double familiarity() {
    return completions.stream().mapToDouble(c -> c.familiar() ? 1 : 0).average().orElse(Double.NaN);
  }

  /** The prompts it was made with. */
  public Set<Prompt> prompts() {
    return Stream.concat(
            answers.stream().map(Answer::prompt),
            completions.stream().map(Familiarity.Completion::prompt))
        .collect(Collectors.toSet());
  }
}
