// Logs in by Connector/J; the arguments and the line printed for each login are those of logins.py.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.StringJoiner;

class WithConnectorJ {
    public static void main(String[] arguments) {
        for (int at = 0; at + 7 <= arguments.length; at += 7) {
            String url = "jdbc:mariadb://" + arguments[at] + ":" + arguments[at + 1] + "/" + arguments[at + 4];
            Properties properties = new Properties();
            properties.setProperty("user", arguments[at + 2]);
            properties.setProperty("password", arguments[at + 3]);
            properties.setProperty("connectTimeout", "10000");
            properties.setProperty("socketTimeout", "10000");
            boolean tls = arguments[at + 5].equals("tls=yes");
            properties.setProperty("useSsl", Boolean.toString(tls));
            properties.setProperty("trustServerCertificate", "true");
            boolean keyRetrieval = arguments[at + 6].equals("key-retrieval=yes");
            properties.setProperty("allowPublicKeyRetrieval", Boolean.toString(keyRetrieval));
            try (Connection connection = DriverManager.getConnection(url, properties)) {
                String version = connection.getMetaData().getDatabaseProductVersion();
                System.out.printf("{\"ok\":true,\"version\":%s,\"rows\":%s}%n", json(version),
                    json(writeAndRead(connection, arguments[at + 2])));
            } catch (SQLException problem) {
                System.out.printf("{\"ok\":false,\"code\":%d,\"message\":%s}%n", problem.getErrorCode(),
                    json(String.valueOf(problem.getMessage())));
            }
        }
    }

    private static String writeAndRead(Connection connection, String user) throws SQLException {
        String table = "written_by_" + user;
        try (Statement statement = connection.createStatement()) {
            statement.execute(
                "CREATE TABLE IF NOT EXISTS " + table + " (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))");
        }
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + table + " (word) VALUES (?)")) {
            insert.setString(1, "it's");
            insert.executeUpdate();
        }
        StringJoiner rows = new StringJoiner(",");
        try (Statement statement = connection.createStatement();
             ResultSet result = statement.executeQuery("SELECT id, word FROM seeds ORDER BY id")) {
            while (result.next()) {
                rows.add(result.getInt(1) + ":" + result.getString(2));
            }
        }
        return rows.toString();
    }

    private static String json(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter < ' ' || letter == '"' || letter == '\\') {
                quoted.append(String.format("\\u%04x", (int) letter));
            } else {
                quoted.append(letter);
            }
        }
        return quoted.append('"').toString();
    }
}
