package android.app;

import android.content.Context;
import android.os.Bundle;

public class Instrumentation {
    private boolean started;

    public void onCreate(Bundle arguments) {}

    public void start() {
        started = true;
    }

    public void onStart() {}

    public Context getTargetContext() {
        return new Context() {};
    }

    /** Prints what `am instrument -w -r` prints. */
    public void finish(int resultCode, Bundle results) {
        for (String key : results.keySet()) {
            System.out.println("INSTRUMENTATION_RESULT: " + key + "=" + results.getString(key));
        }
        System.out.println("INSTRUMENTATION_CODE: " + resultCode);
    }

    /** Does what Android does after `am instrument`, on one thread. */
    public void run(Bundle arguments) {
        onCreate(arguments);
        if (!started) {
            throw new IllegalStateException("start() was not called");
        }
        onStart();
    }
}
