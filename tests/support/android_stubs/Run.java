import android.os.Bundle;
import org.mmfacestylizer.benchmark.BenchmarkInstrumentation;

/** Runs the app as `am instrument` does: its arguments are names and values in turn. */
public class Run {
    public static void main(String[] words) {
        Bundle arguments = new Bundle();
        for (int i = 0; i + 1 < words.length; i += 2) {
            arguments.putString(words[i], words[i + 1]);
        }
        new BenchmarkInstrumentation().run(arguments);
    }
}
