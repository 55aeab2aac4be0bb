import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.Objects;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Main {
SAMPLE

    static String header(HttpExchange e, String name) {
        return Objects.requireNonNullElse(e.getRequestHeaders().getFirst(name), "");
    }

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", PORT), 0);
        server.createContext("/", e -> {
            boolean genuine;
            try {
                genuine = genuine(System.getenv("WEBHOOK_SECRET"), header(e, "webhook-id"), header(e, "webhook-timestamp"),
                    header(e, "webhook-signature"), e.getRequestBody().readAllBytes());
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
            e.sendResponseHeaders(genuine ? 204 : 401, -1);
            e.close();
        });
        server.start();
    }
}
