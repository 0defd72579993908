package android.os;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

public final class Bundle {
    private final Map<String, String> strings = new LinkedHashMap<>();

    public String getString(String key) {
        return strings.get(key);
    }

    public void putString(String key, String value) {
        strings.put(key, value);
    }

    public Set<String> keySet() {
        return strings.keySet();
    }
}
