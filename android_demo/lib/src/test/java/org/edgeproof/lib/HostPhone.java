package org.edgeproof.lib;

import java.io.BufferedReader;
import java.io.FileReader;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/** This machine as a phone. */
final class HostPhone implements Phone {
    private final long memory;

    /** @param memory bytes that are available; "" for what /proc/meminfo says */
    HostPhone(String memory) throws IOException {
        this.memory = memory.isEmpty() ? available() : Long.parseLong(memory);
    }

    @Override
    public Map<String, String> device() {
        Map<String, String> found = new LinkedHashMap<>();
        found.put("manufacturer", "Host");
        found.put("model", "JVM " + System.getProperty("java.version"));
        found.put("android", "");
        found.put("api", "");
        found.put("build", "");
        found.put("soc", "");
        found.put("abi", System.getProperty("os.arch"));
        found.put("driver", "");
        return found;
    }

    @Override
    public long availableMemory() {
        return memory;
    }

    @Override
    public String app() {
        return "host";
    }

    private static long available() throws IOException {
        try (BufferedReader in = new BufferedReader(new FileReader("/proc/meminfo"))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (line.startsWith("MemAvailable:")) {
                    return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        }
        throw new IOException("/proc/meminfo does not say what is available");
    }
}
