package org.json;

import java.util.ArrayList;
import java.util.List;

public class JSONArray {
    private final List<Double> values = new ArrayList<>();

    public JSONArray put(double value) throws JSONException {
        values.add(value);
        return this;
    }

    @Override
    public String toString() {
        return values.toString();
    }
}
